//! The planner's rules on nftables itself, between machines made of network namespaces.

mod real;

use machine_plan::facts::HostFacts;
use machine_plan::render;

use crate::testing::space::Space;

/// The rules of a machine of this role whose node's subnet is its own link's.
fn rules(role: &str, machine: &str, cluster: &str) -> String {
    let text = format!(
        "apiVersion: machined/v1\nkind: MachineConfig\nmachine:\n  role: {role}\n  hostname: n1\n{machine}\
         cluster:\n  name: demo\n  id: 0123456789abcdef\n  controlPlaneEndpoint: api.demo.example\n  \
         kubernetesVersion: v1.33.0\n  networking:\n    podSubnet: 10.244.0.0/16,fd44::/56\n    \
         serviceSubnet: 10.96.0.0/16,fd96::/112\n{cluster}"
    );
    let read = machine_config::read(text.as_bytes());
    let config = read.unwrap_or_else(|problems| panic!("{problems}")).config;
    let facts = HostFacts {
        subnets: ["10.9.0.0/24", "fd09::/64"]
            .map(|net| net.parse().unwrap())
            .into(),
        ..HostFacts::at("10.9.0.1".parse().unwrap())
    };
    render::firewall(&config, &facts)
        .content
        .expose()
        .to_owned()
}
