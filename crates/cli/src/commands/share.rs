//! `serin share`: showing a canary's share of traffic, setting it, and staying until a ramp is done.

use super::asking::{self, Through, not_recorded};
use crate::args::ShareOf;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::{date, line, print, table};
use serin_engine::environment::{Canary, Ramp, Refused, changes};
use serin_model::{Environment, EnvironmentName, FleetName, Reason, verdict::seconds};
use serin_runtime::environment::request::{ACCEPTED, answer_to};
use serin_runtime::environment::{EnvironmentRequest, Moment, Stream, Want};
use serin_runtime::ports::Ports;
use serin_runtime::records;
use serin_runtime::share::{Part, Sharing, measured_text};
use std::time::Duration;

/// A canary, and how it is reached.
struct Canaries<'a> {
    context: &'a Context,
    ports: Ports,
    environment: &'a Environment,
    fleet: FleetName,
}

pub(crate) async fn run(context: &Context, what: ShareOf) -> Result<Code, Failure> {
    let ShareOf { place, percent, over, reason } = what;
    let environment = asking::find_place(context, &place.environment, place.fleet.as_ref())?;
    let Some(fleet) = place.fleet else {
        return Err(Failure::new(Code::Refused, format!("{} is not one fleet", environment.name))
            .hint(format!("name its canary, for example {}/canary", environment.name)));
    };
    let canary = Canaries { context, ports: context.ports()?, environment, fleet };
    let Some(percent) = percent else { return canary.show().await };
    let percent = whole(&percent)?;
    let why = reason.unwrap_or_default();
    if why.trim().is_empty() {
        return Err(Failure::new(Code::Refused, "a share is not set without a reason")
            .hint("say why in a few words with --reason: it is recorded and shown to everybody"));
    }
    canary.set(percent, over.unwrap_or_default(), why).await
}

pub(crate) fn whole(text: &str) -> Result<u32, Failure> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    number.parse().ok().filter(|_| plain).ok_or_else(|| {
        Failure::new(Code::Refused, format!("{text:?} is not a whole percentage"))
            .hint("write a whole number from 0% to 100%: HAProxy's weights are not finer")
    })
}

impl Canaries<'_> {
    fn sharing(&self) -> Sharing<'_> {
        Sharing { ports: &self.ports, environment: self.environment, fleet: &self.fleet }
    }

    fn name(&self) -> &EnvironmentName {
        &self.environment.name
    }

    async fn show(&self) -> Result<Code, Failure> {
        let stream = Stream::read(self.context.journal.as_ref(), self.name()).await?;
        let share = stream.state.shares.get(&self.fleet);
        let now = self.context.clock.now();
        let computed = self.sharing().look().await.map_err(unreadable)?;
        let measured = self.sharing().measure().await.map_err(unreadable)?;
        let intended = share.map(|share| share.ramp.at(now));
        if self.context.json() {
            line(self.object(intended, &computed, &measured));
            return Ok(Code::Done);
        }
        let place = format!("{}/{}", self.name(), self.fleet);
        line(match share {
            Some(share) => format!(
                "{place} is meant to get {}{} ({}: {})",
                self.percent_at(&share.ramp),
                self.way(&share.ramp),
                share.by,
                share.why
            ),
            None => format!("nobody has said which share {place} is meant to get"),
        });
        Self::print(&computed, &measured);
        Ok(Code::Done)
    }

    fn percent_at(&self, ramp: &Ramp) -> String {
        format!("{}%", ramp.at(self.context.clock.now()))
    }

    /// Says where a ramp goes that is on its way.
    fn way(&self, ramp: &Ramp) -> String {
        if ramp.next_change(self.context.clock.now()).is_none() {
            return String::new();
        }
        let (from, to, end) = (ramp.from, ramp.to, date(ramp.begins.plus(ramp.length)));
        format!(", on its way from {from}% to {to}% until {end}")
    }

    fn object(&self, intended: Option<u8>, computed: &[Part], measured: &[Part]) -> String {
        let part = |(computed, measured): (&Part, &Part)| {
            serde_json::json!({
                "load_balancer": computed.lb.as_str(),
                "backend": computed.backend.as_str(),
                "computed_tenths": computed.tenths(),
                "measured_tenths": measured.tenths(),
                "requests": measured.all,
            })
        };
        let parts: Vec<_> = computed.iter().zip(measured).map(part).collect();
        serde_json::json!({
            "environment": self.name().as_str(),
            "fleet": self.fleet.as_str(),
            "intended_percent": intended,
            "backends": parts,
        })
        .to_string()
    }

    fn print(computed: &[Part], measured: &[Part]) {
        let percent = |part: &Part| match part.tenths() {
            Some(tenths) => format!("{}.{}%", tenths / 10, tenths % 10),
            None => "-".to_owned(),
        };
        let mut rows = table(&["LOAD BALANCER", "BACKEND", "BY WEIGHT", "MEASURED", "REQUESTS"]);
        for (computed, measured) in computed.iter().zip(measured) {
            rows.add_row([
                computed.lb.to_string(),
                computed.backend.to_string(),
                percent(computed),
                percent(measured),
                measured.all.to_string(),
            ]);
        }
        print(&rows);
        line(measured_text(measured));
    }

    async fn set(&self, percent: u32, over: Duration, why: String) -> Result<Code, Failure> {
        let fleet = self.fleet.clone();
        let want = Want::SetShare { fleet, percent, over };
        let request = EnvironmentRequest { by: self.context.by(), why, want };
        match asking::through(self.context, self.name(), &request).await? {
            Through::Answered(answer) => {
                let code = asking::say(self.context, self.name(), &answer)?;
                if code == Code::Done && !over.is_zero() && !self.context.json() {
                    line("the run's process takes it there; `serin share` shows how far it is");
                }
                Ok(code)
            }
            Through::Here(mut moment, sent) => {
                let asking = request.asking(self.seen(percent).await?);
                let decided = moment.ask(asking, self.context.clock.now()).await;
                let decided = decided.map_err(not_recorded)?;
                let ramp = moment.stream().state.shares.get(&self.fleet).map(|share| share.ramp);
                let answer = answer_to(&decided);
                let (None, Some(ramp)) = (&decided.refused, ramp) else {
                    asking::end(moment, sent, &answer).await?;
                    return asking::say(self.context, self.name(), &answer);
                };
                self.say(&format!("{}: {ACCEPTED}{}", self.name(), self.way(&ramp)));
                let told = self.tell(&moment, &ramp).await;
                asking::end(moment, sent, &answer).await?;
                told?;
                self.go_on(ramp).await
            }
        }
    }

    /// Looks at the canary, and whether a run is changing it.
    async fn seen(&self, percent: u32) -> Result<Result<Canary, Refused>, Failure> {
        if let Some(refused) = self.changing().await? {
            return Ok(Err(refused));
        }
        Ok(self.sharing().canary(percent).await)
    }

    async fn changing(&self) -> Result<Option<Refused>, Failure> {
        let claims = self.context.journal.claims().await?;
        let Some(id) = claims.get(self.name()) else { return Ok(None) };
        let (run, _) = records::load(self.context.journal.as_ref(), id).await?;
        let changing = changes(&run, self.name(), &self.fleet);
        let (run, fleet) = (id.clone(), self.fleet.clone());
        Ok(changing.then_some(Refused::Changing { run, fleet }))
    }

    /// Raises the fence, tells load balancers what a ramp says now, and shows what came of it.
    async fn tell(&self, moment: &Moment, ramp: &Ramp) -> Result<(), Failure> {
        let fence = moment.raise(&self.ports, self.environment).await;
        let fence = fence.map_err(|error| unreadable(error.into()))?;
        moment.beat().await.map_err(not_recorded)?;
        let percent = ramp.at(self.context.clock.now());
        self.sharing().set(fence, percent).await.map_err(unreadable)?;
        let computed = self.sharing().look().await.map_err(unreadable)?;
        let measured = self.sharing().measure().await.map_err(unreadable)?;
        if self.context.json() {
            line(self.object(Some(percent), &computed, &measured));
            return Ok(());
        }
        line(format!("{}/{} is meant to get {percent}% now", self.name(), self.fleet));
        Self::print(&computed, &measured);
        Ok(())
    }

    /// Takes a ramp on, step by step, until it is at its end or somebody else sees to it.
    async fn go_on(&self, ramp: Ramp) -> Result<Code, Failure> {
        while let Some(next) = ramp.next_change(self.context.clock.now()) {
            let left = next.since(self.context.clock.now());
            self.say(&format!("the next step comes in {}", seconds(left)));
            self.context.clock.sleep_until(next).await;
            let journal = &self.context.journal;
            let moment = match Moment::take(journal, self.name(), &Context::settings()).await {
                Ok(moment) => moment,
                Err(error) => {
                    let failure = asking::no_moment(error);
                    self.say(&format!("{}; it takes the ramp on", failure.what));
                    return Ok(Code::Done);
                }
            };
            let now = moment.stream().state.shares.get(&self.fleet).map(|share| share.ramp);
            let stopped = if now == Some(ramp) {
                self.changing().await?.map(|refused| refused.to_string())
            } else {
                Some("somebody else has set another share".to_owned())
            };
            if let Some(why) = stopped {
                moment.end().await?;
                return Err(Failure::new(Code::Refused, format!("the ramp ends here: {why}")));
            }
            let told = self.tell(&moment, &ramp).await;
            moment.end().await?;
            told?;
        }
        Ok(Code::Done)
    }

    fn say(&self, text: &str) {
        if !self.context.json() {
            line(text);
        }
    }
}

/// Why load balancers could not be read or told. The share is recorded as intended all the same.
fn unreadable(error: serin_runtime::share::ShareError) -> Failure {
    Failure::new(Code::Error, Reason::from(error).to_string()).hint(
        "what is intended stays recorded: the same command again goes on from there, and `serin drift` compares",
    )
}
