//! What is valid, and seldom what was meant. Nothing is refused for it.

use crate::machine::MachineConfig;

/// What a config's author should know.
#[must_use]
pub fn warnings(config: &MachineConfig) -> Vec<String> {
    let endpoints = config.external_etcd().unwrap_or_default();
    // One may be a load balancer's, or a name of all.
    let own = config.etcd_members().unwrap_or_default();
    members(endpoints.len() + own.len()).into_iter().collect()
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
