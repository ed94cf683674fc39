//! What Serin works with: load balancers, Alertmanager, PostgreSQL.

use crate::delivery::{Delivery, during, halts, halts_for, out_is_named, resumed, until_again};
use crate::events::{self, Event};
use crate::oracle;
use crate::scenarios::{Scenario, scenario};
use crate::traffic::{Excuse, Traffic};
use crate::world;

/// One of production's two load balancers: users of the other one must not notice.
const BALANCER: &str = "lb-02.gprd";

pub(crate) fn haproxy_restarted() -> Scenario {
    scenario("haproxy_restarted_while_a_canary_is_changed_is_noticed", |lab| {
        let traffic = Traffic::start_apart(lab, BALANCER)?;
        let delivery = Delivery::under(lab, traffic, None)?;
        let mut run = delivery.run(lab)?;
        for host in ["web-cny-01.gprd", "web-cny-02.gprd"] {
            let drained = format!("6/{host}/drain");
            events::until(&mut run, |event| event.is_done(&drained))?;
            lab.lab(&["break", "haproxy-restart", BALANCER])?.expect(0)?;
            // Its own drain may be done again by the look before the host is changed, which says nothing.
            let noticed = |event: &Event| event.is_a("drain-lost") || event.is_a("share-lost");
            until_again(lab, &mut run, noticed)?;
        }
        let because = "HAProxy cut the connections that it had, and did not listen for a moment";
        delivery.end(lab, run, Some(&Excuse { to: BALANCER, because }))
    })
}

pub(crate) fn balancer_lost() -> Scenario {
    scenario("a_load_balancer_that_is_lost_halts_the_run_until_it_is_back", |lab| {
        let traffic = Traffic::start_apart(lab, BALANCER)?;
        let delivery = Delivery::under(lab, traffic, None)?;
        let mut run = delivery.run(lab)?;
        events::until(&mut run, |event| event.is_done("6/web-cny-01.gprd/drain"))?;
        lab.lab(&["break", "power-off", BALANCER])?.expect(0)?;
        let halt = halts_for(run, &["lb-02"])?;
        lab.lab(&["break", "mend", BALANCER])?.expect(0)?;
        out_is_named(lab)?;
        world::until_fires(lab, "production", None)?;
        let run = resumed(lab, "it is back")?;
        let because = "sent to the load balancer that had no power";
        let seen = delivery.end(lab, run, Some(&Excuse { to: BALANCER, because }))?;
        Ok(format!("{halt}; {seen}"))
    })
}

pub(crate) fn alertmanager_lost() -> Scenario {
    during(
        "an_alertmanager_that_is_lost_for_good_halts_the_run_and_keeps_it_halted",
        |lab, mut run| {
            events::until(&mut run, |event| event.is("attempt-started", "3/web-01.gstg/drain"))?;
            lab.lab(&["break", "alertmanager-stop"])?.expect(0)?;
            halts(lab, run, &["alerts"])?;
            // Asking again does not help: nobody can read them.
            let again = lab.serin_running(&["--json", "resume", "--reason", "once more"])?;
            halts(lab, again, &["alerts"])?;
            lab.lab(&["break", "mend"])?.expect(0)?;
            resumed(lab, "alerts can be read again")
        },
    )
}

pub(crate) fn database_lost() -> Scenario {
    scenario("a_postgresql_that_stops_in_a_migration_halts_the_run_and_none_runs_twice", |lab| {
        let delivery = Delivery::of(lab, Some("slow-migrations"))?;
        let run = delivery.run(lab)?;
        oracle::until_database_says(lab, "gstg", super::IN_A_MIGRATION, "1")?;
        lab.lab(&["break", "database-stop", "db-01.gstg"])?.expect(0)?;
        let halt = halts(lab, run, &["migrate on deploy-01.gstg"])?;
        // What fails without a database is an alert, and stays one for a while: resumed too soon, the run would halt again.
        world::until_fires(lab, "staging", Some(&"HighErrorRatio".to_owned()))?;
        lab.lab(&["break", "mend", "db-01.gstg"])?.expect(0)?;
        world::until_fires(lab, "staging", None)?;
        let run = resumed(lab, "the database is back")?;
        let because = "staging had no database";
        let seen = delivery.end(lab, run, Some(&Excuse { to: "gstg", because }))?;
        Ok(format!("{halt}; {seen}"))
    })
}
