//! What is valid, and seldom what was meant. Nothing is refused for it.

use ipnet::IpNet;

use crate::machine::MachineConfig;
use crate::types::Role;

/// What a config's author should know.
#[must_use]
pub fn warnings(config: &MachineConfig) -> Vec<String> {
    let endpoints = config.external_etcd().unwrap_or_default();
    // One may be a load balancer's, or a name of all.
    let own = config.etcd_members().unwrap_or_default();
    let count = members(endpoints.len() + own.len());
    count.into_iter().chain(unlisted(config)).collect()
}

/// A machine of role `etcd` that nobody would look for. One that asks DHCP may get any address.
fn unlisted(config: &MachineConfig) -> Option<String> {
    let told = config.etcd_members()?;
    let interfaces = &config.network().interfaces;
    let own = interfaces.iter().flat_map(|i| &i.addresses);
    let mut own = own.map(IpNet::addr).peekable();
    let known = own.peek().is_some() && interfaces.iter().all(|i| !i.dhcp);
    let found = !known || own.any(|ip| told.contains(&ip));
    (config.role() == Role::Etcd && !found).then(|| {
        "none of the machine's addresses is among cluster.etcd.members: control planes would not ask it"
            .to_owned()
    })
}

/// What is to be said of an etcd of so many members.
#[must_use]
pub fn members(count: usize) -> Option<String> {
    let outlives = |count: usize| count.saturating_sub(1) / 2;
    match count {
        0 | 1 | 3 | 5 | 7 => None,
        2 => Some(
            "2 members of etcd outlive no loss, as 1 does, and are twice as likely to lose one: take 1 or 3"
                .to_owned(),
        ),
        count if count.is_multiple_of(2) => Some(format!(
            "{count} members of etcd outlive the loss of {}, as {} do: take {} or {}",
            outlives(count),
            count - 1,
            count - 1,
            count + 1
        )),
        _ => Some(format!(
            "{count} members of etcd are more than 7: each of them waits for most of the others with every write"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::members;

    #[test]
    fn a_machine_of_role_etcd_that_nobody_looks_for_is_one_to_warn_of() {
        let warned = |role: &str, interface: &str| {
            let text = format!(
                "apiVersion: machined/v1\nkind: MachineConfig\n\
                 machine:\n  role: {role}\n  hostname: n1\n  network: {{interfaces: [{interface}]}}\n\
                 cluster:\n  name: demo\n  id: 0123456789abcdef\n  \
                 controlPlaneEndpoint: api.demo.example\n  kubernetesVersion: v1.33.0\n  \
                 etcd: {{members: [10.0.2.21]}}\n"
            );
            let bundle = crate::read(text.as_bytes()).unwrap();
            super::warnings(&bundle.config)
        };
        let elsewhere = "{name: eth0, addresses: [10.0.2.22/24]}";
        assert!(warned("etcd", elsewhere)[0].contains("cluster.etcd.members"));
        for (role, interface) in [
            ("controlplane", elsewhere),
            ("etcd", "{name: eth0, addresses: [10.0.2.21/24]}"),
            (
                "etcd",
                "{name: eth0, dhcp: true, addresses: [10.0.2.22/24]}",
            ),
            ("etcd", ""),
        ] {
            assert_eq!(warned(role, interface), [""; 0], "{role} {interface}");
        }
    }

    #[test]
    fn odd_counts_up_to_seven_are_nobodys_mistake() {
        for (count, words) in [
            (0, None),
            (1, None),
            (2, Some("outlive no loss")),
            (3, None),
            (4, Some("the loss of 1, as 3 do: take 3 or 5")),
            (5, None),
            (6, Some("the loss of 2, as 5 do")),
            (7, None),
            (8, Some("the loss of 3")),
            (9, Some("more than 7")),
        ] {
            let said = members(count);
            assert_eq!(said.is_some(), words.is_some(), "{said:?}");
            assert!(
                said.unwrap_or_default().contains(words.unwrap_or_default()),
                "{count}"
            );
        }
    }
}
