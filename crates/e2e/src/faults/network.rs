//! Between the controller and hosts: connections that are cut, packets that are lost, answers that come late.

use crate::delivery::{Delivery, during, until_again};
use crate::events;
use crate::lab::PATIENCE;
use crate::scenarios::{Scenario, scenario};
use anyhow::Context;

/// A step, and the host whose SSH is cut when it has begun: a host is drained and put back on its load balancer.
type Phase = (&'static str, &'static str);

/// Every phase of a host's way.
const PHASES: [Phase; 7] = [
    ("1/deploy-01.gstg/migrate", "deploy-01.gstg"),
    ("3/web-01.gstg/fetch", "web-01.gstg"),
    ("3/web-01.gstg/drain", "lb-01.gstg"),
    ("3/web-01.gstg/install", "web-01.gstg"),
    ("3/web-01.gstg/reconfigure", "web-01.gstg"),
    ("3/web-01.gstg/activate", "web-01.gstg"),
    ("3/web-01.gstg/ready", "lb-01.gstg"),
];

/// The step in which nothing is answered any more, until `serin` says that it has no answer: almost a minute.
const SILENT: Phase = ("3/web-01.gstg/install", "web-01.gstg");

pub(crate) fn cut_in_each_phase() -> Scenario {
    during("ssh_that_is_cut_in_each_phase_stops_nothing", |lab, mut run| {
        for (step, host) in PHASES {
            events::until(&mut run, |event| event.is("attempt-started", step))?;
            lab.lab(&["break", "cut", host, "--reset"])?.expect(0)?;
            lab.lab(&["break", "mend", host])?.expect(0)?;
            until_again(lab, &mut run, |event| event.is_done(step)).context(step)?;
        }
        Ok(run)
    })
}

pub(crate) fn cut_silently() -> Scenario {
    during("a_host_that_answers_nothing_for_a_while_is_waited_for", |lab, mut run| {
        let (step, host) = SILENT;
        events::until(&mut run, |event| event.is("attempt-started", step))?;
        lab.lab(&["break", "cut", host])?.expect(0)?;
        events::until(&mut run, |event| event.is_lost(step))?;
        lab.lab(&["break", "mend", host])?.expect(0)?;
        until_again(lab, &mut run, |event| event.is_done(step))?;
        Ok(run)
    })
}

/// How many of a hundred packets are lost.
const LOST: &str = "20";

pub(crate) fn packets_lost() -> Scenario {
    scenario("with_a_fifth_of_all_packets_lost_a_build_is_delivered", |lab| {
        for host in lab.all_hosts()? {
            lab.lab(&["break", "loss", &host.name, LOST])?.expect(0)?;
        }
        let delivery = Delivery::of(lab, None)?;
        let ended = delivery.run(lab)?.end(PATIENCE)?;
        lab.lab(&["break", "mend"])?.expect(0)?;
        delivery.look(lab, &ended, None)
    })
}

/// How long a round trip over SSH takes, in milliseconds.
const ROUND_TRIP: u32 = 300;

pub(crate) fn delayed() -> Scenario {
    scenario("with_answers_of_ssh_300_ms_late_a_build_is_delivered", |lab| {
        let delivery = Delivery::of(lab, None)?;
        let ssh_config = lab.delayed_ssh_config(ROUND_TRIP)?;
        let path = ssh_config.path().display().to_string();
        let config = lab.changed_config(|text| {
            let lines = text.lines().map(|line| match line.strip_prefix("config = ") {
                Some(_) => format!("config = \"{path}\"\n"),
                None => format!("{line}\n"),
            });
            lines.collect()
        })?;
        lab.account().borrow_mut().damaged("300 ms of delay");
        let run = ["--json", "run", "to-canary", &delivery.version];
        let run = lab.serin_with(config.path(), &run)?;
        delivery.end(lab, run, None)
    })
}
