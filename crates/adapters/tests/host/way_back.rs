//! The way back on a host, before anything changes: the bytes of now are kept, and apt would take them.

use crate::packages::Shop;
use serin_runtime::ports::Work;
use std::fs;

fn keep(version: &str) -> Work {
    Work::Keep { package: "demo".parse().unwrap(), version: version.parse().unwrap() }
}

const KEPT: &str = "serin: /var/cache/apt/archives/demo_1.0-1_all.deb is kept for the way back";

#[tokio::test]
async fn what_is_installed_is_kept_or_fetched_or_the_host_says_that_it_cannot_go_back() {
    let shop = Shop::open();
    let one = shop.build("1.0-1");
    shop.fetch_and_install(&one).await;
    let kept = async || shop.perform(keep("1.0-1")).await;
    assert_eq!(kept().await, (0, KEPT.to_owned()));
    // apt's cache was cleaned, as it is every week: the repository has it still.
    shop.machine.ok("apt-get clean");
    assert_eq!(kept().await, (0, KEPT.to_owned()));
    // What is there under the name has other bytes.
    shop.machine.ok("echo x >>/var/cache/apt/archives/demo_1.0-1_all.deb");
    assert_eq!(kept().await, (0, KEPT.to_owned()));
    // The repository has pruned it; the host's own copy is enough.
    fs::remove_file(shop.machine.root("/srv/repo/demo_1.0-1_all.deb")).unwrap();
    shop.index();
    shop.machine.ok("apt-get update");
    assert_eq!(kept().await, (0, KEPT.to_owned()));
    shop.machine.ok("apt-get clean");
    let (status, said) = kept().await;
    assert!(status != 0 && said.contains("1.0-1"), "{status} {said}");
    assert_eq!(shop.perform(keep("2.0-1")).await.0, 18, "that is not what is installed");
}

#[tokio::test]
async fn a_package_that_others_have_installed_is_known_by_its_files() {
    let shop = Shop::open();
    shop.machine.ok(
        "apt-get update && apt-get -y install demo=1.0-1 && cp /srv/repo/demo_1.0-1_all.deb /root/",
    );
    fs::remove_file(shop.machine.root("/srv/repo/demo_1.0-1_all.deb")).unwrap();
    shop.index();
    shop.machine
        .ok("apt-get update; apt-get clean; cp /root/demo_1.0-1_all.deb /var/cache/apt/archives/");
    assert_eq!(shop.perform(keep("1.0-1")).await, (0, KEPT.to_owned()));
    // The same version, with other files.
    shop.publish("demo", "1.0-1", "Section: other", "exit 0");
    shop.machine.ok("echo changed >>/var/lib/dpkg/info/demo.md5sums");
    fs::remove_file(shop.machine.root("/srv/repo/demo_1.0-1_all.deb")).unwrap();
    shop.index();
    shop.machine.ok("apt-get update");
    assert_ne!(shop.perform(keep("1.0-1")).await.0, 0);
}

#[tokio::test]
async fn only_a_few_packages_stay_in_the_archives() {
    let shop = Shop::open();
    for version in ["2.0-1", "3.0-1", "4.0-1", "5.0-1", "6.0-1"] {
        if version != "2.0-1" {
            shop.publish("demo", version, "", "exit 0");
        }
        shop.fetch_and_install(&shop.build(version)).await;
    }
    assert_eq!(shop.perform(keep("6.0-1")).await.0, 0);
    let left = shop.machine.ok("ls /var/cache/apt/archives/demo_*.deb | wc -l");
    assert_eq!(left.trim(), "4");
}

#[tokio::test]
async fn apt_is_asked_both_ways_and_nothing_is_done() {
    let shop = Shop::open();
    let (one, two) = (shop.build("1.0-1"), shop.build("2.0-1"));
    shop.fetch_and_install(&one).await;
    let simulated = async |build| {
        assert_eq!(shop.perform(Work::Fetch(build)).await.0, 0);
    };
    simulated(two.clone()).await;
    let (status, said) = shop.perform(Work::Simulate(two.clone())).await;
    assert_eq!(
        (status, said.as_str()),
        (0, "serin: apt would install demo 2.0-1, and go back to 1.0-1")
    );
    assert_eq!(shop.observe().await.installed(), Some(&one.version));
    // Forward would remove another package; backward would, too.
    shop.publish("helper", "1-1", "", "exit 0");
    shop.machine.ok("apt-get update && apt-get -y install helper");
    shop.publish("demo", "3.0-1", "Conflicts: helper", "exit 0");
    let three = shop.build("3.0-1");
    simulated(three.clone()).await;
    let (status, said) = shop.perform(Work::Simulate(three)).await;
    assert_eq!((status, said.as_str()), (12, "serin: installing demo 3.0-1 would remove: helper "));
    shop.machine.ok("apt-get -y purge helper");
    // Nobody depends on the old one, but it needs what the repository no longer has.
    shop.publish("demo", "0.5-1", "Depends: gone", "exit 0");
    shop.machine.ok("dpkg -i --force-depends /srv/repo/demo_0.5-1_all.deb; apt-get update; \
         cp /srv/repo/demo_0.5-1_all.deb /var/cache/apt/archives/");
    simulated(two.clone()).await;
    let (status, said) = shop.perform(Work::Simulate(two)).await;
    assert_eq!(status, 15, "{said}");
    assert!(said.contains("going back to demo 0.5-1"), "{said}");
}
