//! Every file of the package except the binary: path, kind and content.
//!
//! The order does not matter; dpkg-deb sorts.

use super::migrations;
use super::names::Names;
use super::{Fix, PackageSpec};

/// One thing in the package.
pub(super) enum Entry {
    /// Mode 0644.
    File(String),
    /// Mode 0755.
    Script(String),
    /// A symbolic link to an absolute path.
    Link(String),
}

const SERVICES: [&str; 4] = ["gitaly", "puma", "sidekiq", "workhorse"];
const RAILS: &str = "opt/gitlab/embedded/service/gitlab-rails";

/// All of them, by path below the root of the package.
pub(super) fn entries(
    spec: &PackageSpec,
    names: &Names,
    architecture: &str,
) -> Vec<(String, Entry)> {
    let fill = |template: &str| fill(template, names).replace("@ARCHITECTURE@", architecture);
    let mut entries = Vec::new();
    let mut add = |path: String, entry: Entry| entries.push((path, entry));
    add("DEBIAN/control".to_owned(), Entry::File(fill(include_str!("../../package/control"))));
    for (name, script) in [
        ("preinst", include_str!("../../package/preinst")),
        ("postinst", include_str!("../../package/postinst")),
        ("prerm", include_str!("../../package/prerm")),
        ("postrm", include_str!("../../package/postrm")),
    ] {
        add(format!("DEBIAN/{name}"), Entry::Script(fill(script)));
    }
    for (name, script) in [
        ("gitlab-ctl", include_str!("../../package/gitlab-ctl")),
        ("gitlab-psql", include_str!("../../package/gitlab-psql")),
        ("gitlab-rake", include_str!("../../package/gitlab-rake")),
        ("gitlab-sidekiq-idle", include_str!("../../package/gitlab-sidekiq-idle")),
    ] {
        add(format!("opt/gitlab/bin/{name}"), Entry::Script(fill(script)));
    }
    for service in SERVICES {
        let run = include_str!("../../package/service-run").replace("@SERVICE@", service);
        let log = include_str!("../../package/service-log-run").replace("@SERVICE@", service);
        add(format!("opt/gitlab/sv/{service}/run"), Entry::Script(run));
        add(format!("opt/gitlab/sv/{service}/log/run"), Entry::Script(log));
        // omnibus brings its own runit; the lab's hosts have Debian's.
        add(format!("opt/gitlab/init/{service}"), Entry::Link("/usr/bin/sv".to_owned()));
    }
    for (path, file) in [
        ("opt/gitlab/version-manifest.json", include_str!("../../package/version-manifest.json")),
        ("opt/gitlab/version-manifest.txt", include_str!("../../package/version-manifest.txt")),
        ("opt/gitlab/etc/gitlab.rb.template", include_str!("../../package/gitlab.rb.template")),
    ] {
        add(path.to_owned(), Entry::File(fill(file)));
    }
    let flaw = spec.flaw.map_or_else(String::new, |flaw| format!("{flaw}\n"));
    add("opt/gitlab/flaw".to_owned(), Entry::File(flaw));
    add_rails(&mut add, spec, names);
    entries
}

fn add_rails(add: &mut impl FnMut(String, Entry), spec: &PackageSpec, names: &Names) {
    let controller = match spec.fix {
        Some(Fix::Whole | Fix::Half) => {
            include_str!("../../package/rails-fixed/application_controller.rb")
        }
        None => include_str!("../../package/rails/application_controller.rb"),
    };
    let project = match spec.fix {
        Some(Fix::Whole) => include_str!("../../package/rails-fixed/project.rb"),
        Some(Fix::Half) | None => include_str!("../../package/rails/project.rb"),
    };
    for (path, file) in [
        ("VERSION", "@RAILS_VERSION@\n"),
        ("REVISION", "@SHORT_REVISION@\n"),
        ("app/models/project.rb", project),
        ("app/controllers/application_controller.rb", controller),
        ("lib/gitlab/version_info.rb", include_str!("../../package/rails/version_info.rb")),
    ] {
        add(format!("{RAILS}/{path}"), Entry::File(fill(file, names)));
    }
    for migration in migrations::files(spec, names) {
        let path = format!("{RAILS}/db/{}/{}", migration.folder, migration.file);
        add(path, Entry::File(migration.content));
    }
}

fn fill(template: &str, names: &Names) -> String {
    let short = names.revision.get(..11).unwrap_or_default();
    template
        .replace("@VERSION@", &names.version)
        .replace("@RAILS_VERSION@", &names.rails_version)
        .replace("@SHORT_REVISION@", short)
        .replace("@GITALY_REVISION@", &names.gitaly_revision)
        .replace("@REVISION@", &names.revision)
        .replace("@MINIMUM_MAJOR@", &names.minimum.0.to_string())
        .replace("@MINIMUM_MINOR@", &names.minimum.1.to_string())
}
