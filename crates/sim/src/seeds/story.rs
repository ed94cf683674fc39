//! Stories: what a seed stands for, as a value that can be printed, cut down and told again.

use super::extras::{Drawn, Extras};
use super::fleet::Shape;
use crate::faults::{Fault, Kill, Mishap, Trouble, When};
use crate::installation::Setting;
use crate::random::Random;
use crate::strikes::{Moment, Strike};
use serin_journal::FailMode;
use serin_model::{EnvironmentName, HostName, Pace, PatchDirection};
use std::time::Duration;

/// Everything that a seed decides, but for latencies and what people do about halts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The seed.
    pub seed: u64,
    /// The installation.
    pub shape: Shape,
    /// What is wanted, one after the other.
    pub plot: Vec<Wish>,
    /// What happens meanwhile, with the number by which [`Story::keeping`] knows it.
    pub incidents: Vec<(usize, Incident)>,
    /// What it has besides.
    pub extras: Extras,
}

/// How often is drawn anew what is nothing that goes wrong: one in five is.
const MOST_DRAWS: u32 = 100;

/// Something that people want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The build on staging and the canary.
    Canary,
    /// The build on main.
    Main,
    /// The build in production as fast as possible.
    Expedited,
    /// Production as it was.
    RollBack(Pace),
    /// A patch on all of production, or off it.
    Patch(PatchDirection, Pace),
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incident {
    /// Something befalls the world.
    Befalls(Duration, Fault),
    /// Something happens when a step begins.
    Strikes(Moment, Strike),
    /// An effect goes wrong, by its number.
    Effect(u64, Trouble),
    /// An append goes wrong, by its number.
    Append(u64, FailMode),
    /// The process that acts dies at an append.
    Dies(Kill),
    /// It dies at a moment.
    Killed(Duration),
    /// It is stopped, as by SIGSTOP, and continued; if that takes longer than a lease holds, another one takes over.
    Stopped {
        /// When.
        at: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// The clocks of processes are apart by as much.
    ClocksApart(Duration),
    /// A person asks for something.
    Asked(Duration, Asked),
    /// Something goes wrong when something else has just begun.
    When(When),
}

/// What people ask in the middle of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A halt, at the terminal.
    Halt,
    /// A hold through the inbox, which halts at once.
    Hold(EnvironmentName),
    /// A hold that stops the run at its next stage.
    HoldNextStage(EnvironmentName),
    /// Another share for the canary.
    Share(u32),
    /// A second run of the same, by somebody who does not know of the first.
    AnotherRun,
}

impl Incident {
    /// Draws so many things that may go wrong with one run in an installation.
    ///
    /// `within`: when. What people ask, and clocks that are apart, are nothing that goes wrong with a run.
    pub fn drawn(seed: u64, setting: &Setting, within: Duration, count: u64) -> Vec<Self> {
        let random = Random::new(seed ^ 0x1_9c1d);
        let hosts = u64::try_from(setting.hosts()).unwrap_or(u64::MAX);
        let mut drawer = Drawer { span: within.as_secs(), hosts, random };
        let there = There::of(setting);
        let mut drawn = Vec::new();
        for _ in 0..count {
            let wrong = (0..MOST_DRAWS).find_map(|_| {
                let incident = drawer.incident(&there)?;
                (!matches!(incident, Self::Asked(..) | Self::ClocksApart(_))).then_some(incident)
            });
            drawn.extend(wrong);
        }
        drawn
    }

    /// Returns what kind of thing goes wrong, as a person would call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Befalls(_, fault)
            | Self::Strikes(_, Strike::Befalls(fault))
            | Self::When(When { mishap: Mishap::Befalls(fault), .. }) => fault.kind(),
            Self::Effect(_, trouble) | Self::Strikes(_, Strike::Goes(trouble)) => match trouble {
                Trouble::Fails => "an act fails",
                Trouble::RequestLost | Trouble::CutInTheMiddle | Trouble::ReplyLost => {
                    "a connection breaks"
                }
                Trouble::Twice => "an act happens twice",
            },
            Self::Append(..) => "the journal fails",
            Self::Dies(_)
            | Self::Killed(_)
            | Self::When(When { mishap: Mishap::Dies | Mishap::DiesBefore, .. })
            | Self::Strikes(_, Strike::Dies) => "Serin is killed",
            Self::Stopped { .. } => "Serin is stopped for a while",
            Self::ClocksApart(_) => "clocks are apart",
            Self::Asked(..) | Self::Strikes(_, Strike::Approves) => "a person asks for something",
        }
    }
}

impl Story {
    /// Returns the story of a seed.
    pub fn of(seed: u64) -> Self {
        let mut story = Self::plain(seed);
        let drawn = Drawn::of(seed, &story.shape);
        story.plot = drawn.plot.unwrap_or(story.plot);
        let twists = if story.incidents.is_empty() {
            Vec::new()
        } else {
            super::twists::drawn(seed, &story.shape.setting())
        };
        let first = story.incidents.len();
        story.incidents.extend((first..).zip(twists.into_iter().chain(drawn.incidents)));
        story.extras = drawn.extras;
        story
    }

    /// Returns the story of a seed without twists, patches, approvals, freeze windows and second runs, which came later.
    pub fn plain(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5e71_5eed);
        let shape = Shape::drawn(&mut random);
        let plot = plot(&mut random, &shape);
        let mut drawer = Drawer { span: 900 + 8 * shape.hosts(), hosts: shape.hosts(), random };
        let incidents = drawer.incidents(&shape.setting());
        let incidents = incidents.into_iter().enumerate().collect();
        Self { seed, shape, plot, incidents, extras: Extras::default() }
    }

    /// Returns the story with only these of its incidents, by number.
    #[must_use]
    pub fn keeping(mut self, numbers: &[usize]) -> Self {
        self.incidents.retain(|(number, _)| numbers.contains(number));
        self
    }

    /// Returns the story in an installation that was halved so many times.
    #[must_use]
    pub fn halved(mut self, times: u32) -> Self {
        for _ in 0..times {
            self.shape = self.shape.smaller().unwrap_or(self.shape);
        }
        self
    }
}

fn plot(random: &mut Random, shape: &Shape) -> Vec<Wish> {
    let pace = if random.one_in(2) { Pace::Careful } else { Pace::Expedited };
    let canary = shape.staging.is_some() || shape.canary.is_some();
    let mut plot = if canary { vec![Wish::Canary] } else { Vec::new() };
    match random.below(8) {
        0 => plot = vec![Wish::Expedited],
        1 if canary => plot.push(Wish::RollBack(pace)),
        2 => plot.extend([Wish::Main, Wish::RollBack(pace)]),
        3 | 4 if canary => {}
        _ => plot.push(Wish::Main),
    }
    plot
}

/// What there is to befall.
struct There {
    environments: Vec<EnvironmentName>,
    hosts: Vec<HostName>,
    lbs: Vec<HostName>,
}

impl There {
    fn of(setting: &Setting) -> Self {
        let all = || setting.topology.environments.values();
        Self {
            environments: setting.topology.environments.keys().cloned().collect(),
            hosts: all().flat_map(|e| e.hosts().map(|(_, host)| host.name.clone())).collect(),
            lbs: all().flat_map(|e| e.load_balancers.values().map(|lb| lb.host.clone())).collect(),
        }
    }
}

/// Draws what happens.
struct Drawer {
    random: Random,
    /// In which time, in seconds.
    span: u64,
    hosts: u64,
}

impl Drawer {
    fn incidents(&mut self, setting: &Setting) -> Vec<Incident> {
        let there = There::of(setting);
        // Every tenth story is a healthy one.
        let count = if self.random.one_in(10) { 0 } else { 1 + self.random.below(7) };
        (0..count).filter_map(|_| self.incident(&there)).collect()
    }

    fn at(&mut self) -> Duration {
        self.random.seconds(0, self.span)
    }

    fn incident(&mut self, there: &There) -> Option<Incident> {
        let There { environments, hosts, lbs } = there;
        Some(match self.random.below(20) {
            0..=6 => Incident::Befalls(self.at(), self.on_a_host(hosts, lbs)?),
            7..=9 => Incident::Befalls(self.at(), self.on_alerts(environments, hosts)?),
            10 | 11 => {
                let number = 1 + self.random.below(20 + 12 * self.hosts);
                Incident::Effect(number, self.trouble())
            }
            12 => {
                let number = 1 + self.random.below(30 + 20 * self.hosts);
                let modes = [FailMode::Lost, FailMode::Unacknowledged, FailMode::Full];
                Incident::Append(number, *self.random.pick(&modes)?)
            }
            13 | 14 => {
                let number = 1 + self.random.below(30 + 20 * self.hosts);
                let after = self.random.one_in(2);
                Incident::Dies(if after { Kill::After(number) } else { Kill::Before(number) })
            }
            15 => Incident::Killed(self.at()),
            16 => Incident::Stopped { at: self.at(), lasts: self.random.seconds(1, 60) },
            17 => Incident::ClocksApart(self.random.seconds(1, 3_600)),
            _ => Incident::Asked(self.at(), self.asked(environments)?),
        })
    }

    fn trouble(&mut self) -> Trouble {
        match self.random.below(5) {
            0 => Trouble::Fails,
            1 => Trouble::RequestLost,
            2 => Trouble::CutInTheMiddle,
            3 => Trouble::ReplyLost,
            _ => Trouble::Twice,
        }
    }

    fn on_a_host(&mut self, hosts: &[HostName], lbs: &[HostName]) -> Option<Fault> {
        let host = self.random.pick(hosts)?.clone();
        let lb = self.random.pick(lbs)?.clone();
        let either = if self.random.one_in(2) { host.clone() } else { lb.clone() };
        let lasts = self.random.seconds(1, 150);
        Some(match self.random.below(12) {
            0 | 1 => Fault::HostDies { host, back_after: Some(lasts) },
            2 => Fault::HostDies { host, back_after: None },
            3 | 4 => Fault::Cut { host: either, lasts },
            5 | 6 => Fault::Reload { host: lb },
            7 => Fault::ThirdVersion { host },
            8 => Fault::Slow { host: either, by: self.random.millis(200, 8_000), lasts },
            9 => Fault::DpkgLocked { host, lasts },
            10 => Fault::PackageGone { lasts },
            _ => Fault::Converges { host },
        })
    }

    fn on_alerts(&mut self, environments: &[EnvironmentName], hosts: &[HostName]) -> Option<Fault> {
        let environment = self.random.pick(environments)?.clone();
        let lasts = self.random.seconds(1, 200);
        let about = if self.random.one_in(3) { self.random.pick(hosts).cloned() } else { None };
        Some(match self.random.below(4) {
            0 => Fault::AlertsUnreadable { environment, lasts },
            1 => Fault::QaHangs { lasts: self.random.seconds(1, 1_200) },
            _ => Fault::Alert { environment, about, lasts },
        })
    }

    fn asked(&mut self, environments: &[EnvironmentName]) -> Option<Asked> {
        let environment = self.random.pick(environments)?.clone();
        Some(match self.random.below(5) {
            0 => Asked::Hold(environment),
            1 => Asked::HoldNextStage(environment),
            2 => Asked::Share(u32::try_from(self.random.below(30)).ok()?),
            _ => Asked::Halt,
        })
    }
}
