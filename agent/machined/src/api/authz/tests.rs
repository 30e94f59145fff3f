use prost::Message;
use prost_types::FileDescriptorSet;

use super::*;
use crate::api::peer::Identity;

fn methods() -> Vec<String> {
    let mut found = Vec::new();
    for bytes in [
        machined_proto::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
    ] {
        for file in FileDescriptorSet::decode(bytes).unwrap().file {
            for service in &file.service {
                let of = |m: &prost_types::MethodDescriptorProto| {
                    format!("/{}.{}/{}", file.package(), service.name(), m.name())
                };
                found.extend(service.method.iter().map(of));
            }
        }
    }
    found
}

fn peer(role: Option<Role>) -> Peer {
    let identity = Identity {
        name: "somebody".to_owned(),
        role,
        ..Identity::default()
    };
    Peer::new(([127, 0, 0, 1], 1).into(), Some(identity), [0; 32])
}

/// Every method there is, with its role stated a second time: a method that is added, or moves,
/// fails here until somebody says who may call it.
#[test]
fn every_method_has_the_role_stated_here() {
    let stated = |path: &str| {
        let (service, method) = path[1..].split_once('/').unwrap();
        match (service, method) {
            ("grpc.health.v1.Health", _) => Access::Authenticated,
            ("machine.v1.EnrolmentService", "Prove" | "Enrol") => ADMIN,
            (
                "machine.v1.MachineService",
                "Version" | "Status" | "Inspect" | "Events" | "ListServices" | "ListGenerations"
                | "EtcdMembers" | "EtcdStatus",
            ) => READER,
            (
                "machine.v1.MachineService",
                "Logs"
                | "Dmesg"
                | "RestartService"
                | "Reboot"
                | "Shutdown"
                | "EtcdForfeitLeadership"
                | "EtcdDefragment",
            ) => OPERATOR,
            (
                "machine.v1.MachineService",
                "ApplyConfig" | "ConfirmConfig" | "GetConfig" | "RollbackConfig" | "Bootstrap"
                | "Kubeconfig" | "EtcdRemoveMember" | "EtcdSnapshot" | "EtcdAlarms" | "EtcdLeave"
                | "EtcdJoin" | "EtcdRecover" | "CreateToken" | "ListTokens" | "DeleteToken",
            ) => ADMIN,
            ("machine.v1.MachineService", "SignCertificate") => Access::Machine,
            _ => panic!("{path}: say who may call it"),
        }
    };
    let methods = methods();
    assert!(methods.len() >= 19, "{methods:?}");
    for path in methods {
        assert_eq!(required(&path), stated(&path), "{path}");
    }
}

#[test]
fn the_table_names_methods_that_exist() {
    let methods = methods();
    for (path, _) in TABLE {
        let known = methods.iter().any(|m| m == path) || path.starts_with("/grpc.reflection.v1.");
        assert!(known, "{path} is no method");
    }
}

#[test]
fn what_is_not_listed_is_the_admins() {
    for path in [
        "/",
        "",
        "/machine.v1.MachineService/status",
        "/machine.v1.MachineService/New",
    ] {
        assert!(
            check(Some(&peer(Some(Role::Operator))), path).is_err(),
            "{path}"
        );
        assert!(
            check(Some(&peer(Some(Role::Admin))), path).is_ok(),
            "{path}"
        );
    }
}

#[test]
fn greater_roles_may_do_what_lesser_ones_may() {
    let status = "/machine.v1.MachineService/Status";
    let reboot = "/machine.v1.MachineService/Reboot";
    let apply = "/machine.v1.MachineService/ApplyConfig";
    let health = "/grpc.health.v1.Health/Check";
    let may = |role, path| check(Some(&peer(role)), path).is_ok();
    let row = |role| [health, status, reboot, apply].map(|path| may(role, path));
    assert_eq!(row(None), [true, false, false, false]);
    assert_eq!(row(Some(Role::Reader)), [true, true, false, false]);
    assert_eq!(row(Some(Role::Operator)), [true, true, true, false]);
    assert_eq!(row(Some(Role::Admin)), [true, true, true, true]);
    assert_eq!(
        check(None, health).unwrap_err().code(),
        tonic::Code::Unauthenticated
    );
    let stranger = Peer::new(([127, 0, 0, 1], 1).into(), None, [0; 32]);
    stranger.set_proved();
    assert!(
        check(Some(&stranger), health).is_err(),
        "a code is no certificate"
    );
}

#[test]
fn the_greatest_organization_counts() {
    assert_eq!(
        Role::of(["machined:reader", "machined:operator"]),
        Some(Role::Operator)
    );
    assert_eq!(
        Role::of(["machined:node", "system:masters", "Machined:Admin"]),
        None
    );
}
