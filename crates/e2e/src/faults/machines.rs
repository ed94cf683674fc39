//! Hosts: power, disks, dpkg and clocks.

use crate::delivery::{Delivery, during, halts, resumed, until_again};
use crate::events::{self, Event};
use crate::lab::{Lab, PATIENCE};
use crate::scenarios::{Scenario, scenario};
use crate::world;
use anyhow::{Result, bail};

/// The host that is broken: it serves, and another one of its role does meanwhile.
const HOST: &str = "web-01.gstg";
const DRAIN: &str = "3/web-01.gstg/drain";
const INSTALL: &str = "3/web-01.gstg/install";

pub(crate) fn powered_off() -> Scenario {
    during(
        "a_host_that_loses_power_in_its_installation_is_waited_for_and_mended",
        |lab, mut run| {
            events::until(&mut run, |event| event.is("attempt-started", DRAIN))?;
            // dpkg stands still in the middle of its work until the power goes.
            lab.lab(&["break", "dpkg-freeze", HOST])?.expect(0)?;
            lab.lab(&["break", "power-off", HOST])?.expect(0)?;
            events::until(&mut run, |event| event.is_lost(INSTALL))?;
            // An alert about a host that is out is no reason to halt.
            world::until_fires(lab, "staging", Some(&"InstanceDown".to_owned()))?;
            lab.lab(&["break", "power-on", HOST])?.expect(0)?;
            until_again(lab, &mut run, |event| event.is_done(INSTALL))?;
            Ok(run)
        },
    )
}

pub(crate) fn dpkg_killed() -> Scenario {
    during("a_dpkg_that_is_killed_halts_the_run_and_is_mended_when_it_goes_on", |lab, mut run| {
        events::until(&mut run, |event| event.is("attempt-started", DRAIN))?;
        lab.lab(&["break", "dpkg-kill", HOST])?.expect(0)?;
        halts(lab, run, &["install on web-01.gstg"])?;
        resumed(lab, "look again")
    })
}

pub(crate) fn disk_full() -> Scenario {
    during("a_disk_that_fills_up_under_dpkg_halts_the_run_and_names_the_host", |lab, mut run| {
        events::until(&mut run, |event| event.is("attempt-started", DRAIN))?;
        // dpkg stands still in the middle of its work until the disk is full.
        lab.lab(&["break", "dpkg-freeze", HOST])?.expect(0)?;
        lab.lab(&["break", "disk-full", HOST])?.expect(0)?;
        lab.on(HOST, "pkill -CONT -x dpkg")?;
        until_apt_has_ended(lab)?;
        lab.lab(&["break", "mend", HOST])?.expect(0)?;
        halts(lab, run, &["install on web-01.gstg", "No space left on device"])?;
        resumed(lab, "there is room again")
    })
}

/// How often a host is asked for what is waited for: a question takes a tenth of a second.
const QUESTIONS: usize = 3000;

/// The end of a job cannot be written to a full disk: that apt is gone shows from outside only.
fn until_apt_has_ended(lab: &Lab) -> Result<()> {
    for _ in 0..QUESTIONS {
        let left = lab.on(HOST, "pgrep -x apt-get || true")?;
        if left.is_empty() {
            return Ok(());
        }
    }
    bail!("apt is still at work on {HOST}")
}

/// Hosts whose clocks are ahead, and by how many seconds: a load balancer, and some of every kind.
const AHEAD: [(&str, &str); 7] = [
    ("deploy-01.gstg", "300"),
    ("gitaly-01.gstg", "90"),
    ("web-01.gstg", "3600"),
    ("api-01.gstg", "86400"),
    ("lb-01.gstg", "7200"),
    ("web-cny-01.gprd", "3600"),
    ("lb-02.gprd", "86400"),
];

/// One that is an hour behind: for its apt, what the repository signed is not valid yet. It serves no user: to put its clock
/// right it is started again.
const BEHIND: &str = "sidekiq-01.gstg";

pub(crate) fn clocks_differ() -> Scenario {
    scenario("clocks_that_differ_by_up_to_a_day_change_nothing_but_what_apt_refuses", |lab| {
        for (host, seconds) in AHEAD.into_iter().chain([(BEHIND, "-3600")]) {
            lab.lab(&["break", "clock", host, seconds])?.expect(0)?;
        }
        for environment in ["staging", "production"] {
            world::until_fires(lab, environment, None)?;
        }
        let delivery = Delivery::of(lab, None)?;
        let run = delivery.run(lab)?;
        let halt = halts(lab, run, &["fetch on sidekiq-01.gstg", "not valid yet"])?;
        lab.lab(&["break", "mend", BEHIND])?.expect(0)?;
        let run = resumed(lab, "its clock is right again")?;
        Ok(format!("{halt}; {}", delivery.end(lab, run, None)?))
    })
}

pub(crate) fn own_clock_wrong() -> Scenario {
    scenario("a_controller_whose_clock_is_an_hour_off_trusts_no_alerts_and_begins_nothing", |lab| {
        let delivery = Delivery::of(lab, None)?;
        let run = ["--json", "run", "to-canary", &delivery.version];
        lab.account().borrow_mut().damaged("clock of serin behind");
        let refused = lab.serin_at("-3600", &run)?.end(PATIENCE)?;
        refused.expect(4)?.says(&["this machine's clock is behind"])?;
        lab.account().borrow_mut().damaged("clock of serin ahead");
        let ended = lab.serin_at("+3600", &run)?.end(PATIENCE)?;
        ended.expect(5)?;
        let reason = events::halt(&ended.log)?;
        if !reason.contains("off Serin's clock") {
            bail!("it halted because {reason}");
        }
        let events = events::all(&ended.log);
        let began = |event: &&Event| event.is_a("attempt-started") && !event.begins("guard");
        if let Some(began) = events.iter().find(began) {
            bail!("it began all the same: {}", began.show());
        }
        lab.serin(&["cancel", "--reason", "the clock is wrong"])?.expect(6)?;
        let run = delivery.run(lab)?;
        delivery.end(lab, run, None)
    })
}
