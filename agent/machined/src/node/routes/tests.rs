use nix::sched::{CloneFlags, unshare};

use super::*;

fn route(to: &str, via: &str) -> Route {
    Route {
        to: to.parse().unwrap(),
        via: via.parse().unwrap(),
    }
}

async fn seen() -> Vec<Route> {
    let Probe::Seen(mut routes) = look().await else {
        panic!("the routes cannot be read")
    };
    routes.sort();
    routes
}

// In a network of its own, which ends with the thread.
fn alone<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace: run as root");
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let handle = connect().unwrap();
            let pair = rtnetlink::LinkVeth::new("here", "there").up().build();
            handle.link().add(pair).execute().await.unwrap();
            let mut link = handle.link().get().match_name("here".to_owned()).execute();
            let index = link.try_next().await.unwrap().unwrap().header.index;
            for (ip, length) in [("10.9.0.1", 24), ("fd09::1", 64)] {
                let add = handle.address().add(index, ip.parse().unwrap(), length);
                add.execute().await.unwrap();
            }
            test().await;
        });
    });
    thread.join().unwrap();
}

#[test]
fn routes_are_set_changed_and_removed_and_again_is_fine() {
    alone(|| async {
        let (w1, w2) = (
            route("10.244.1.0/24", "10.9.0.2"),
            route("fd44:0:0:2::/64", "fd09::3"),
        );
        for _ in 0..2 {
            set(&[w1.clone(), w2.clone()], &[]).await.unwrap();
            assert_eq!(seen().await, [w1.clone(), w2.clone()]);
        }
        let moved = [
            route("10.244.1.0/24", "10.9.0.4"),
            route("fd44:0:0:2::/64", "fd09::4"),
        ];
        set(&moved, &[]).await.unwrap();
        assert_eq!(seen().await, moved);
        for _ in 0..2 {
            set(&[], &moved).await.unwrap();
            assert_eq!(seen().await, []);
        }
    });
}

#[test]
fn other_peoples_routes_are_not_ours() {
    alone(|| async {
        let handle = connect().unwrap();
        let mut foreign = message(&route("10.244.7.0/24", "10.9.0.2")).unwrap();
        foreign.header.protocol = RouteProtocol::Static;
        handle.route().add(foreign).execute().await.unwrap();
        assert_eq!(seen().await, []);
    });
}

#[test]
fn a_route_that_is_refused_is_named_and_keeps_no_other_back() {
    alone(|| async {
        let (far, near) = (
            route("10.244.1.0/24", "192.0.2.1"),
            route("10.244.2.0/24", "10.9.0.2"),
        );
        let refused = set(&[far, near.clone()], &[])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("10.244.1.0/24 through 192.0.2.1"),
            "{refused}"
        );
        assert_eq!(seen().await, [near]);
    });
}
