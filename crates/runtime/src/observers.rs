//! Several observers of one run: each is told everything, in order.

use crate::controller::Observer;
use crate::ports::Alert;
use serin_engine::{Due, EnvironmentEvent, Event, Run};
use serin_model::{EnvironmentName, Timestamp};

impl Observer for Vec<Box<dyn Observer>> {
    fn event(&mut self, run: &Run, at: Timestamp, event: &Event) {
        for observer in self {
            observer.event(run, at, event);
        }
    }

    fn due(&mut self, run: &Run, due: &Due) {
        for observer in self {
            observer.due(run, due);
        }
    }

    fn attributed(&mut self, alerts: &[Alert]) {
        for observer in self {
            observer.attributed(alerts);
        }
    }

    fn trouble(&mut self, what: &str) {
        for observer in self {
            observer.trouble(what);
        }
    }

    fn environment(&mut self, name: &EnvironmentName, at: Timestamp, event: &EnvironmentEvent) {
        for observer in self {
            observer.environment(name, at, event);
        }
    }

    fn told(&mut self, what: &str) {
        for observer in self {
            observer.told(what);
        }
    }
}
