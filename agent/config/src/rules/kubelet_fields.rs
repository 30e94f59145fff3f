//! What the fields of `KubeletConfiguration` hold. Kubelet ends on a wrong type; a field that is not
//! here is left to it.

use serde_json::Value;

use super::duration;
use crate::problem::Fault;

/// A field's kind.
#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Int,
    Float,
    Text,
    /// As Go writes them.
    Duration,
    List,
    Map,
    /// Names and `true` or `false`.
    Switches,
    /// Names and texts.
    Texts,
}

use Kind::{Bool, Duration, Float, Int, List, Map, Switches, Text, Texts};

/// Of `kubelet.config.k8s.io/v1beta1`, by kind.
#[rustfmt::skip]
const FIELDS: &[(Kind, &[&str])] = &[
    (Bool, &["failSwapOn", "serializeImagePulls", "protectKernelDefaults", "makeIPTablesUtilChains",
        "enableControllerAttachDetach", "enableContentionProfiling", "enableDebuggingHandlers", "enableServer",
        "enableSystemLogHandler", "enableSystemLogQuery", "enableProfilingHandler", "enableDebugFlagsHandler",
        "cpuCFSQuota", "cgroupsPerQOS", "rotateCertificates", "serverTLSBootstrap", "seccompDefault",
        "localStorageCapacityIsolation", "registerNode", "failCgroupV1", "singleProcessOOMKill"]),
    (Int, &["port", "readOnlyPort", "healthzPort", "oomScoreAdj", "registryPullQPS", "registryBurst",
        "eventRecordQPS", "eventBurst", "imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "maxPods",
        "podsPerCore", "podPidsLimit", "maxOpenFiles", "kubeAPIQPS", "kubeAPIBurst", "iptablesMasqueradeBit",
        "iptablesDropBit", "nodeStatusMaxImages", "containerLogMaxFiles", "containerLogMaxWorkers",
        "maxParallelImagePulls", "evictionMaxPodGracePeriod", "nodeLeaseDurationSeconds"]),
    (Float, &["memoryThrottlingFactor"]),
    (Text, &["address", "tlsMinVersion", "clusterDomain", "cpuManagerPolicy", "memoryManagerPolicy",
        "topologyManagerPolicy", "topologyManagerScope", "hairpinMode", "resolvConf", "containerLogMaxSize",
        "kubeletCgroups", "systemCgroups", "cgroupRoot", "cgroupDriver", "systemReservedCgroup",
        "kubeReservedCgroup", "providerID", "volumePluginDir", "contentType", "reservedSystemCPUs", "podLogsDir",
        "podCIDR", "showHiddenMetricsForVersion", "containerRuntimeEndpoint", "imageServiceEndpoint"]),
    (Duration, &["syncFrequency", "fileCheckFrequency", "httpCheckFrequency", "streamingConnectionIdleTimeout",
        "nodeStatusUpdateFrequency", "nodeStatusReportFrequency", "imageMinimumGCAge", "imageMaximumGCAge",
        "volumeStatsAggPeriod", "cpuManagerReconcilePeriod", "runtimeRequestTimeout", "cpuCFSQuotaPeriod",
        "evictionPressureTransitionPeriod", "shutdownGracePeriod", "shutdownGracePeriodCriticalPods",
        "containerLogMonitorInterval"]),
    (List, &["tlsCipherSuites", "clusterDNS", "allowedUnsafeSysctls", "enforceNodeAllocatable",
        "registerWithTaints", "reservedMemory", "shutdownGracePeriodByPodPriority"]),
    (Map, &["authentication", "authorization", "logging", "tracing", "memorySwap", "crashLoopBackOff",
        "userNamespaces", "staticPodURLHeader"]),
    (Switches, &["featureGates"]),
    (Texts, &["evictionHard", "evictionSoft", "evictionSoftGracePeriod", "evictionMinimumReclaim",
        "systemReserved", "kubeReserved", "qosReserved", "cpuManagerPolicyOptions",
        "topologyManagerPolicyOptions"]),
];

/// What is wrong with a field's name or value; for a map, of one of its entries.
pub(super) fn judge(field: &str, value: &Value) -> Result<(), (Option<String>, Fault)> {
    let known = FIELDS.iter().find(|(_, fields)| fields.contains(&field));
    let Some((kind, _)) = known else {
        return spelled(field).map_err(|fault| (None, fault));
    };
    let entries = |of: Kind| {
        let wrong = |(name, value): (&String, &Value)| {
            let fault = one(of, value).err()?;
            Some((Some(name.clone()), fault))
        };
        let entries = value.as_object().into_iter().flatten();
        entries.into_iter().find_map(wrong).map_or(Ok(()), Err)
    };
    one(*kind, value).map_err(|fault| (None, fault))?;
    match kind {
        Switches => entries(Bool),
        Texts => entries(Text),
        _ => Ok(()),
    }
}

fn one(kind: Kind, value: &Value) -> Result<(), Fault> {
    let (right, what, hint) = match kind {
        Bool => (value.is_boolean(), "true or false", "without quotes"),
        Int => (
            value.is_i64() || value.is_u64(),
            "a whole number",
            "without quotes",
        ),
        Float => (value.is_number(), "a number", "without quotes"),
        Text => (value.is_string(), "text", "in quotes"),
        Duration => (
            value
                .as_str()
                .is_some_and(|text| duration::parse(text).is_some()),
            "a duration",
            "for example 10s, 5m or 1h30m",
        ),
        List => (value.is_array(), "a list", "one value a line, after \"- \""),
        Map | Switches | Texts => (value.is_object(), "a map", "names and values, indented"),
    };
    match right || value.is_null() {
        true => Ok(()),
        false => Err(Fault::new(format!("must be {what}")).hint(hint)),
    }
}

/// Kubelet's fields are told apart by their capitals.
fn spelled(field: &str) -> Result<(), Fault> {
    let all = FIELDS.iter().flat_map(|(_, fields)| fields.iter());
    match all
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(field))
    {
        Some(known) => {
            Err(Fault::new("is not a field of kubelet's").hint(format!("write {known}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_is_named_once() {
        let mut all: Vec<_> = FIELDS.iter().flat_map(|(_, fields)| *fields).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn wrong_kinds_are_told() {
        for (field, value) in [
            ("maxPods", json!("110")),
            ("failSwapOn", json!("no")),
            ("nodeStatusUpdateFrequency", json!(10)),
            ("evictionHard", json!([])),
            ("evictionHard", json!({ "memory.available": 100 })),
            ("clusterDNS", json!("10.96.0.10")),
            ("featureGates", json!({ "Foo": "true" })),
            ("MaxPods", json!(110)),
            ("tlsMinVersion", json!(12)),
        ] {
            assert!(judge(field, &value).is_err(), "{field}: {value}");
        }
        for (field, value) in [
            ("maxPods", json!(110)),
            ("memoryThrottlingFactor", json!(1)),
            ("featureGates", json!({ "Foo": true })),
            ("evictionHard", json!({ "memory.available": "100Mi" })),
            ("somethingNew", json!("x")),
            ("clusterDNS", json!(null)),
        ] {
            assert!(judge(field, &value).is_ok(), "{field}: {value}");
        }
    }
}
