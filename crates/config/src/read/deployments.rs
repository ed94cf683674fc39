//! Where GitLab is told what is deployed.

use super::Reader;
use crate::at::{At, Text};
use crate::raw::{RawDeployments, RawGitlab};
use crate::{DeployedComponent, Deployments, Place};
use serin_model::{EnvironmentName, FleetName, Topology};

/// What GitLab's own projects call it.
const REF: &str = "master";

/// Reads where deployments are recorded.
pub(super) fn deployments(
    reader: &mut Reader,
    written: Option<&At<RawGitlab>>,
    topology: &Topology,
) -> Option<Deployments> {
    let raw = written?.get();
    let first = raw.deployments.first()?;
    let mut needs = |what: &Option<Text>, key: &str, why: &str| {
        if what.is_none() {
            let message = format!("deployments cannot be recorded without `{key}`");
            reader.wrong(first.span(), message, why.to_owned());
        }
    };
    needs(&raw.api, "api", "add it under [gitlab]: `api = \"https://gitlab.example.com/api/v4\"`");
    needs(
        &raw.token_file,
        "token_file",
        "add it under [gitlab]: a file with a token of scope `api`",
    );
    let components =
        raw.deployments.iter().filter_map(|raw| component(reader, raw.get(), topology)).collect();
    let token_file = raw.token_file.as_ref().and_then(|text| reader.path(text));
    // What is wrong with the address is reported where jobs are read.
    let api = raw.api.as_ref()?.get().trim_end_matches('/').to_owned();
    Some(Deployments { api, token_file: token_file?, components })
}

fn component(
    reader: &mut Reader,
    raw: &RawDeployments,
    topology: &Topology,
) -> Option<DeployedComponent> {
    let project = reader.not_empty(&raw.project, "the path or number of a project");
    let component = reader.not_empty(&raw.component, "the name of a component");
    let git_ref = match &raw.git_ref {
        Some(text) => reader.not_empty(text, "a branch"),
        None => Some(REF.to_owned()),
    };
    let mut places = Vec::new();
    for (written, name) in &raw.environments {
        let name = reader.not_empty(name, "GitLab's name for it");
        if let (Some(place), Some(name)) = (place(reader, written, topology), name) {
            places.push((place, name));
        }
    }
    Some(DeployedComponent { project: project?, component: component?, git_ref: git_ref?, places })
}

fn place(reader: &mut Reader, written: &Text, topology: &Topology) -> Option<Place> {
    let text = written.get();
    let (environment, fleet) = match text.split_once('/') {
        Some((environment, fleet)) => (environment, Some(fleet)),
        None => (text.as_str(), None),
    };
    let Some(found) =
        topology.environments.values().find(|found| found.name.as_str() == environment)
    else {
        let names = topology.environments.keys().map(EnvironmentName::as_str);
        reader.unknown("environment", written, names);
        return None;
    };
    let fleet = match fleet {
        None => None,
        Some(wanted) => {
            let known = found.fleets.keys().find(|known| known.as_str() == wanted);
            if known.is_none() {
                let names: Vec<&str> = found.fleets.keys().map(FleetName::as_str).collect();
                let message = format!("`{environment}` has no fleet `{wanted}`");
                reader.wrong(written.span(), message, format!("it has: {}", names.join(", ")));
            }
            Some(known?.clone())
        }
    };
    Some(Place { environment: found.name.clone(), fleet })
}
