//! `docs/transitions.md`: the table of legal transitions, drawn.
//!
//! The table is in `crates/engine/src/transitions/table.rs` and nowhere else.

use crate::tidy::Violation;
use crate::tree::Tree;
use anyhow::Result;
use serin_engine::Arrow;
use serin_engine::transitions::{EXCUSED, Machine, State, TABLE};
use std::collections::BTreeMap;
use std::path::Path;

const PATH: &str = "docs/transitions.md";

const HEAD: &str = "\
# Transitions

Written by `make docs` from `crates/engine/src/transitions`: change the table there instead. An event that has no arrow
from where something is, is refused, live and on replay. Random histories take every solid arrow whenever `make test`
runs; a dashed one is excused from that, with the reason in its table, and taken by
`crates/engine/tests/engine/legal.rs`. Why there is a table: [design/transitions.md](design/transitions.md).
";

/// Writes the document.
pub(crate) fn write(root: &Path) -> Result<()> {
    std::fs::write(root.join(PATH), render())?;
    Ok(())
}

/// Says so when the document is not what would be written now.
pub(crate) fn stale(tree: &Tree) -> Option<Violation> {
    (tree.text(PATH) != render()).then(|| Violation {
        path: PATH.to_owned(),
        line: None,
        what: "is not what the table of transitions says now".to_owned(),
        instead: "make docs".to_owned(),
    })
}

fn render() -> String {
    let mut text = HEAD.to_owned();
    for machine in Machine::ALL {
        let arrows: Vec<&Arrow> = TABLE.iter().filter(|arrow| arrow.machine == machine).collect();
        let name = capitalised(machine.name());
        text.extend(["\n## ", &name, "\n\n", machine.about(), "\n\n```mermaid\nflowchart LR\n"]);
        text.extend(drawn(machine.begins(), &arrows));
        text.push_str("```\n\n| from | by | to | not in histories because |\n|---|---|---|---|\n");
        for arrow in arrows {
            let (from, to) = (arrow.from.name(), arrow.to.name());
            let why = excuse(*arrow).unwrap_or_default();
            let row = [from, " | ", arrow.cause.name(), " | ", to, " | ", why];
            text.push_str("| ");
            text.extend(row);
            text.push_str(" |\n");
        }
    }
    text
}

/// Draws one line for all arrows between two states that are alike.
fn drawn(begins: State, arrows: &[&Arrow]) -> Vec<String> {
    let mut lines = vec![format!("    begin(( )) --> {}\n", drawn_state(begins))];
    let mut alike: BTreeMap<(State, State, bool), Vec<&str>> = BTreeMap::new();
    for arrow in arrows {
        let line = (arrow.from, arrow.to, excuse(**arrow).is_some());
        alike.entry(line).or_default().push(arrow.cause.name());
    }
    for ((from, to, excused), causes) in alike {
        let line = if excused { "-.->" } else { "-->" };
        let causes = causes.join("<br>");
        lines.push(format!("    {} {line}|\"{causes}\"| {}\n", drawn_state(from), drawn_state(to)));
    }
    lines
}

fn drawn_state(state: State) -> String {
    let name = state.name();
    format!("{}[{name}]", name.replace(' ', "-"))
}

fn excuse(arrow: Arrow) -> Option<&'static str> {
    EXCUSED.iter().find(|excuse| excuse.is_of(arrow)).map(|excuse| excuse.why)
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::{drawn, render};
    use serin_engine::transitions::{Machine, State, TABLE};

    #[test]
    fn every_arrow_is_drawn_and_listed() {
        let text = render();
        for arrow in TABLE {
            let (from, to) = (arrow.from.name(), arrow.to.name());
            assert!(text.contains(&format!("| {from} | {} | {to} | ", arrow.cause.name())));
        }
        assert_eq!(text.matches("flowchart LR").count(), Machine::ALL.len());
    }

    #[test]
    fn arrows_that_are_alike_are_one_line_and_excused_ones_are_dashed() {
        let of_hold =
            TABLE.iter().filter(|arrow| arrow.machine == Machine::Hold).collect::<Vec<_>>();
        let lines = drawn(State::Absent, &of_hold);
        assert_eq!(
            lines,
            [
                "    begin(( )) --> absent[absent]\n",
                "    absent[absent] -->|\"hold-placed\"| on[on]\n",
                "    on[on] -->|\"hold-lifted\"| lifted[lifted]\n",
            ]
        );
        let of_run = TABLE.iter().filter(|arrow| arrow.machine == Machine::Run).collect::<Vec<_>>();
        let dashed = "halting[halting] -.->|\"environment-left<br>halt-requested\"| halting";
        assert!(drawn(State::Running, &of_run).iter().any(|line| line.contains(dashed)));
    }
}
