//! Command-line arguments: kubeadm's defaults, replaced by the user's.

use machine_config::{Arg, KubernetesVersion};

use super::gates;

/// Arguments of one program while they are put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Args(Vec<(String, String)>);

impl Args {
    /// No arguments yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a default, which the user's argument of the same name will replace.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Adds a default if there is a value for it.
    pub(super) fn set_if(&mut self, condition: bool, name: &str, value: impl Into<String>) {
        if condition {
            self.set(name, value);
        }
    }

    /// The final list, `--name=value` each.
    ///
    /// All of a name's defaults give way to all of the user's arguments of that name, and a name
    /// may be repeated by the user.
    #[must_use]
    pub(super) fn finish(mut self, extra: &[Arg], version: KubernetesVersion) -> Vec<String> {
        self.0
            .retain(|(name, _)| !extra.iter().any(|arg| arg.name == *name));
        let users = extra
            .iter()
            .map(|arg| (arg.name.clone(), arg.value.clone()));
        if gates::ALL_ARGUMENTS_SORTED.holds(version) {
            self.0.extend(users);
            self.0.sort();
        } else {
            self.0.sort();
            self.0.extend(users);
        }
        self.0
            .into_iter()
            .map(|(name, value)| format!("--{name}={value}"))
            .collect()
    }
}

/// The user's last value for an argument, which is the one that most programs take.
#[must_use]
pub(super) fn last<'a>(extra: &'a [Arg], name: &str) -> Option<&'a str> {
    extra
        .iter()
        .rev()
        .find(|arg| arg.name == name)
        .map(|arg| arg.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(name: &str, value: &str) -> Arg {
        Arg {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    fn finish(version: &str) -> String {
        let mut args = Args::new();
        args.set("v", "1");
        args.set("issuer", "default");
        args.set("bind", "127.0.0.1");
        let extra = [
            arg("issuer", "second"),
            arg("issuer", "first"),
            arg("audit", "yes"),
        ];
        args.finish(&extra, version.parse().unwrap()).join(" ")
    }

    #[test]
    fn the_users_arguments_replace_every_default_of_the_name() {
        assert_eq!(
            finish("v1.35.0"),
            "--audit=yes --bind=127.0.0.1 --issuer=first --issuer=second --v=1"
        );
    }

    #[test]
    fn from_1_36_the_users_order_is_kept() {
        assert_eq!(
            finish("v1.36.0"),
            "--bind=127.0.0.1 --v=1 --issuer=second --issuer=first --audit=yes"
        );
    }
}
