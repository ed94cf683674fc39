//! What others are told of a run while it goes: beside it, and never in its way.

use crate::context::Context;
use crate::{gitlab, metrics, notify};
use serin_model::RunId;
use serin_runtime::Observer;
use serin_runtime::ports::Ports;

/// Those who tell it.
pub(crate) struct Beside {
    metrics: Option<metrics::telling::Teller>,
    gitlab: Option<gitlab::beside::Teller>,
    notices: Option<notify::Teller>,
}

impl Beside {
    /// Begins to tell a Pushgateway, GitLab and chats, where there are such; the observers belong to the run's controller.
    pub(crate) async fn begin(
        context: &Context,
        ports: &Ports,
        id: &RunId,
    ) -> (Vec<Box<dyn Observer>>, Self) {
        let (pages, metrics) = metrics::telling::begin(context, ports, id).await.unzip();
        let (places, gitlab) = gitlab::beside::begin(context, ports, id).unzip();
        let (said, notices) = notify::begin(context, id).unzip();
        let observers = pages.into_iter().chain(places).chain(said).collect();
        (observers, Self { metrics, gitlab, notices })
    }

    /// Waits a moment until everything is told, by all of them at once: each waits 15 s at most for what is away. The
    /// controller must be gone, and its observers with it.
    pub(crate) async fn end(self) {
        let Self { metrics, gitlab, notices } = self;
        let notices = async {
            if let Some(notices) = notices {
                notices.end().await;
            }
        };
        let metrics = async {
            if let Some(metrics) = metrics {
                metrics.end().await;
            }
        };
        let gitlab = async {
            if let Some(gitlab) = gitlab {
                gitlab.end().await;
            }
        };
        tokio::join!(notices, metrics, gitlab);
    }
}
