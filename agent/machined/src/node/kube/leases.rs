//! The leases by which controllers know who leads.

use serde_json::{Value, json};

use super::{Client, Error, Patch};

const NAMESPACES: &str = "/api/v1/namespaces";
const NAMESPACE: &str = "kube-system";
/// Those of the controllers, in the API.
pub const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

/// For how long one counts that is not renewed, in seconds; the controllers' own.
pub const LASTS: u64 = 15;

/// Takes a lease that nobody has, in this machine's name. One that was another's is not waited for.
///
/// # Errors
/// Somebody has it, as the text says; or the API did not answer, or refused.
pub async fn take(client: &Client, name: &str, hostname: &str) -> Result<(), String> {
    let path = format!("{LEASES}/{name}");
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let now = now.to_string();
    let spec = json!({
        "holderIdentity": holder(hostname),
        "leaseDurationSeconds": LASTS,
        "acquireTime": now,
        "renewTime": now,
    });
    let lease = match client.get::<Value>(&path).await {
        Ok(lease) => lease,
        Err(Error::Refused { code: 404, .. }) => {
            let lease =
                json!({ "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec });
            return made(client, &lease).await.map_err(|e| e.to_string());
        }
        Err(error) => return Err(error.to_string()),
    };
    let holder = lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str);
    // Its own may be of before it was killed.
    let ours = format!("{hostname}_machined");
    if let Some(holder) = holder.filter(|holder| !holder.is_empty() && *holder != ours) {
        return Err(format!("{holder} has the lease {name}"));
    }
    let version = lease.pointer("/metadata/resourceVersion");
    let patch = json!({ "metadata": { "resourceVersion": version }, "spec": spec });
    let taken = client.patch(&path, Patch::Merge, &patch).await;
    taken.map_err(|e| e.to_string())
}

/// A cluster's first minute: the namespace is made by the API server itself, a little later.
async fn made(client: &Client, lease: &Value) -> Result<(), Error> {
    match client.post(LEASES, lease).await {
        Err(Error::Refused { code: 404, .. }) => {}
        done => return done,
    }
    let namespace = json!({ "metadata": { "name": NAMESPACE } });
    match client.post(NAMESPACES, &namespace).await {
        Ok(()) | Err(Error::Refused { code: 409, .. }) => client.post(LEASES, lease).await,
        failed => failed,
    }
}

/// As whom this machine's agent takes a lease.
pub fn holder(hostname: &str) -> String {
    format!("{hostname}_machined")
}

fn holder_of(lease: &Value) -> Option<&str> {
    lease.pointer("/spec/holderIdentity")?.as_str()
}

/// Lets others take a lease at once, if this is who holds it.
///
/// # Errors
/// The API did not answer, or refused.
pub async fn give_up(
    client: &Client,
    name: &str,
    holds: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let path = format!("{LEASES}/{name}");
    let lease = match client.get::<Value>(&path).await {
        Ok(lease) => lease,
        // Older ones keep it elsewhere.
        Err(Error::Refused { code: 404, .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(patch) = given_up(&lease, holds) else {
        return Ok(());
    };
    match client.patch(&path, Patch::Merge, &patch).await {
        // Another's since.
        Err(Error::Refused { code: 409, .. }) => Ok(()),
        done => done,
    }
}

/// What gives a lease up, and no later one: whoever wants one without a holder takes it at once.
fn given_up(lease: &Value, holds: impl Fn(&str) -> bool) -> Option<Value> {
    holder_of(lease).filter(|holder| holds(holder))?;
    let version = lease.pointer("/metadata/resourceVersion")?;
    Some(json!({
        "metadata": { "resourceVersion": version },
        "spec": { "holderIdentity": null, "leaseDurationSeconds": 1 },
    }))
}

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
