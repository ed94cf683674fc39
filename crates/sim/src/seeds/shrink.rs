//! Makes a story that goes wrong small: as few incidents as possible, in as small an installation as possible.

use super::player::tell;
use super::story::Story;

/// How many times an installation is halved at most: 300 hosts are few after that.
const MOST_HALVES: u32 = 7;

/// A small story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Small {
    /// The story.
    pub story: Story,
    /// How many times its installation was halved.
    pub halved: u32,
}

impl Small {
    /// Returns the command that tells it.
    pub fn command(&self) -> String {
        let kept = self.story.incidents.iter().map(|(number, _)| number.to_string());
        let kept = kept.collect::<Vec<_>>().join(",");
        format!("serin-sim --seed {} --keep {kept:?} --halved {}", self.story.seed, self.halved)
    }
}

/// Makes a story small that violates something, so that it still violates something.
pub fn shrink(story: &Story) -> Small {
    let fails = |story: &Story| !tell(story).violations.is_empty();
    let mut small = Small { story: story.clone(), halved: 0 };
    for halved in (1..=MOST_HALVES).rev() {
        let halved_story = story.clone().halved(halved);
        if halved_story != *story && fails(&halved_story) {
            small = Small { story: halved_story, halved };
            break;
        }
    }
    loop {
        let numbers: Vec<usize> = small.story.incidents.iter().map(|(number, _)| *number).collect();
        let without = |left_out: &usize| {
            let rest: Vec<usize> = numbers.iter().filter(|n| *n != left_out).copied().collect();
            small.story.clone().keeping(&rest)
        };
        match numbers.iter().map(without).find(fails) {
            Some(fewer) => small.story = fewer,
            None => return small,
        }
    }
}
