//! `serin changes`: which components of the package differ between two builds.

use crate::args::Builds;
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::{embargo, line, print, table};
use serin_adapters::deb::{Deb, Found, ItemKind};
use serin_adapters::manifest::{Component, Difference, Manifest};
use serin_model::Build;
use std::collections::BTreeMap;

pub(crate) async fn run(context: &Context, builds: &Builds) -> Result<Code, Failure> {
    let Builds { from, to } = builds;
    let refused = |what: String| Failure::new(Code::Refused, what);
    if from == to {
        return Err(refused(format!("{from} is the same build twice")));
    }
    embargo::refuse_contents(&[from, to])?;
    let Some(path) = &context.config.contents.manifest else {
        let profile = &context.config.topology.profile.name;
        return Err(refused(format!("the profile {profile} names no list of components"))
            .hint("write `manifest = \"/path/in/the/package\"` under [profile]"));
    };
    let opened = context.repository()?.open(&[from, to], &context.packages()).await;
    let opened = opened.map_err(|error| refused(chain(&error)))?;
    let mut manifests = Vec::new();
    for (build, deb) in opened {
        let path = path.clone();
        let read = tokio::task::spawn_blocking(move || manifest(&build, deb, &path)).await;
        manifests.push(read.map_err(|error| Failure::new(Code::Error, error.to_string()))??);
    }
    let [old, new] = manifests.as_slice() else {
        return Err(Failure::new(Code::Error, "two builds were asked for"));
    };
    let differences = old.differences(new);
    if context.json() {
        line(json(builds, &differences));
    } else {
        show(builds, old, &differences);
    }
    Ok(Code::Done)
}

fn manifest(build: &Build, mut deb: Deb, path: &str) -> Result<Manifest, Failure> {
    let version = &build.version;
    let refused = |what: String| Failure::new(Code::Refused, what);
    let mut found = deb.find(&[path.to_owned()].into()).map_err(|error| refused(chain(&error)))?;
    match found.remove(path) {
        Some(Found { item, content, other_names: _ }) if item.kind == ItemKind::File => {
            let read = Manifest::parse(&content);
            read.map_err(|error| refused(format!("{path} of build {version}: {error}")))
        }
        Some(_) => Err(refused(format!("{path} of build {version} is not a file"))),
        None => Err(refused(format!("build {version} has no {path}"))
            .hint("look at `manifest` under [profile]")),
    }
}

fn show(builds: &Builds, old: &Manifest, differences: &BTreeMap<String, Difference>) {
    let Builds { from, to } = builds;
    if differences.is_empty() {
        let all = old.components.len();
        line(format!("{from} and {to} have the same {all} components"));
        return;
    }
    let mut rows = table(&["COMPONENT", "", "FROM", "TO"]);
    let mut counts = [0, 0, 0];
    for (name, difference) in differences {
        let (at, word, from, to) = match difference {
            Difference::Changed { from, to } => (0, "changed", shown(from), shown(to)),
            Difference::Added(to) => (1, "added", String::new(), shown(to)),
            Difference::Removed(from) => (2, "removed", shown(from), String::new()),
        };
        if let Some(count) = counts.get_mut(at) {
            *count += 1;
        }
        rows.add_row([name.clone(), word.to_owned(), from, to]);
    }
    print(&rows);
    let [changed, added, removed] = counts;
    let same = old.components.len() - changed - removed;
    line(format!("{changed} changed, {added} added, {removed} removed, {same} the same"));
}

/// Shows what people call it, and enough of what it is to tell it apart.
fn shown(component: &Component) -> String {
    let Component { version, revision, source: _ } = component;
    let short: String = revision.chars().take(12).collect();
    if revision.is_empty() || version == revision {
        if version.is_empty() { "?".to_owned() } else { version.clone() }
    } else {
        format!("{version} ({short})")
    }
}

fn json(builds: &Builds, differences: &BTreeMap<String, Difference>) -> String {
    let object = |component: &Component| {
        let Component { version, revision, source } = component;
        serde_json::json!({ "version": version, "revision": revision, "source": source })
    };
    let rows: Vec<_> = differences
        .iter()
        .map(|(name, difference)| match difference {
            Difference::Changed { from, to } => serde_json::json!({
                "component": name, "change": "changed", "from": object(from), "to": object(to),
            }),
            Difference::Added(to) => serde_json::json!({
                "component": name, "change": "added", "to": object(to),
            }),
            Difference::Removed(from) => serde_json::json!({
                "component": name, "change": "removed", "from": object(from),
            }),
        })
        .collect();
    let Builds { from, to } = builds;
    serde_json::json!({ "from": from.as_str(), "to": to.as_str(), "components": rows }).to_string()
}
