//! `serin patch check`: what a patch says, and whether a build contains it.

use super::text;
use crate::args::PatchCheck;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::{embargo, line, print, table};
use serin_model::{Build, Sha256};
use serin_patch::{Change, Contains, FileProof, PatchFile, Proof};

pub(crate) async fn check(context: &Context, what: PatchCheck) -> Result<Code, Failure> {
    let PatchCheck { file, build, root, sha256 } = what;
    let patch = text::read(&file, sha256.as_ref())?.file;
    embargo::refuse_contents(&[&build])?;
    let root = text::chosen_root(context, root)?;
    let (build, proof) = text::against(context, &patch, &root, &build).await?;
    if context.json() {
        line(json(&patch, &build, &proof));
    } else {
        show(&patch, &build, &proof);
    }
    Ok(if proof.contains == Contains::Contained { Code::Done } else { Code::Blocked })
}

fn show(patch: &PatchFile, build: &Build, proof: &Proof) {
    let (files, hunks) = (patch.files.len(), patch.hunks());
    line(format!("patch {}, SHA-256 {}", patch.id.short(), patch.id));
    line(format!("  files: {files}, hunks: {hunks}"));
    line(format!("  against {} {}", build.package, build.version));
    let mut rows = table(&["FILE", "CHANGE", "CONTAINED", "BEFORE", "AFTER"]);
    for file in &proof.files {
        let hash = |hash: &Option<Sha256>| {
            let known = matches!(file.contains, Contains::Contained | Contains::NotContained);
            let none = if known { "(none)" } else { "" };
            hash.as_ref().map_or(none, Sha256::short).to_owned()
        };
        rows.add_row([
            file.path.clone(),
            change(file.change).to_owned(),
            file.contains.to_string(),
            hash(&file.before),
            hash(&file.after),
        ]);
    }
    print(&rows);
    for file in &proof.files {
        if let Some(why) = &file.why {
            line(format!("{}: {why}", file.path));
        }
    }
    line(match proof.contains {
        Contains::Contained => "contained: the build has all of the patch",
        Contains::NotContained => {
            "not contained: the build has nothing of the patch, and it applies"
        }
        Contains::Partial => "partly contained: a person must look at it",
        Contains::Ambiguous => {
            "ambiguous: the text fits in more than one way; a person must look at it"
        }
        Contains::Conflict => {
            "conflict: it neither applies nor is it there; the build may have it in other words"
        }
    });
}

fn change(change: Change) -> &'static str {
    match change {
        Change::Modify => "modify",
        Change::Create { .. } => "create",
        Change::Delete => "delete",
    }
}

fn word(contains: Contains) -> &'static str {
    match contains {
        Contains::Contained => "contained",
        Contains::NotContained => "not-contained",
        Contains::Partial => "partial",
        Contains::Ambiguous => "ambiguous",
        Contains::Conflict => "conflict",
    }
}

fn json(patch: &PatchFile, build: &Build, proof: &Proof) -> String {
    let file = |file: &FileProof| {
        serde_json::json!({
            "path": file.path,
            "change": change(file.change),
            "contains": word(file.contains),
            "why": file.why.as_ref().map(ToString::to_string),
            "before": file.before.as_ref().map(Sha256::as_str),
            "after": file.after.as_ref().map(Sha256::as_str),
        })
    };
    serde_json::json!({
        "patch": patch.id.as_str(),
        "hunks": patch.hunks(),
        "package": build.package.as_str(),
        "build": build.version.as_str(),
        "contains": word(proof.contains),
        "files": proof.files.iter().map(file).collect::<Vec<_>>(),
    })
    .to_string()
}
