//! The adapter against a real API server on a real etcd, and what stock kubectl
//! finds there. Each test starts its own.

mod real;

use super::failing;

#[test]
fn only_hooks_that_fail_are_named() {
    let answer = "[+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\n\
        [-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed";
    assert_eq!(
        failing(answer),
        "it waits for etcd, poststarthook/rbac/bootstrap-roles"
    );
    assert_eq!(failing("Unauthorized"), "Unauthorized");
    assert!(failing(&"x".repeat(9000)).len() < 400);
}
