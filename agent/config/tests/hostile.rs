//! No input may panic, take long, or make an answer repeat a secret.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use machine_config::{LARGEST, read, read_secrets};
use proptest::prelude::*;

fn document(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

static ACCEPTED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let names = [
        "least",
        "everything",
        "odd-but-valid",
        "controlplane-with-secrets",
    ];
    names
        .iter()
        .map(|name| document(&format!("accepted/{name}.yaml")))
        .collect()
});

/// Every line of a key, the token and the encryption key of the corpus.
static SECRETS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let secrets = read_secrets(document("secrets.yaml").as_bytes()).unwrap();
    let cas = [&secrets.machine_ca].into_iter();
    let cas = cas
        .chain(&secrets.kubernetes_ca)
        .chain(&secrets.etcd_ca)
        .chain(&secrets.front_proxy_ca);
    let keys = cas.filter_map(|ca| ca.key.clone());
    let signing = secrets
        .service_account
        .iter()
        .filter_map(|pair| pair.key.clone());
    let single = secrets
        .bootstrap_token
        .clone()
        .into_iter()
        .chain(secrets.encryption_key.clone());
    keys.chain(signing)
        .chain(single)
        .flat_map(|secret| {
            let lines = secret.expose().lines().map(str::to_owned);
            lines
                .filter(|line| !line.starts_with("-----"))
                .collect::<Vec<_>>()
        })
        .collect()
});

fn no_secret_in(text: &str) {
    for secret in SECRETS.iter() {
        // Any eight characters of a secret in a row are too many.
        for start in (0..secret.len().saturating_sub(8)).step_by(4) {
            let part = &secret[start..start + 8];
            // PEM of keys starts with the same bytes everywhere; those are no secret.
            if !secret.starts_with("MIGH") || start > 40 {
                assert!(!text.contains(part), "{part} is shown in\n{text}");
            }
        }
    }
}

/// One way to damage a document.
#[derive(Debug, Clone)]
enum Damage {
    Remove(usize, usize),
    Insert(usize, String),
    DoubleLine(usize),
    DropLine(usize),
    Indent(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let piece = prop_oneof![
        "[ -~\\n\\t]{0,6}",
        prop::sample::select(vec![
            "&a ",
            "*a",
            "!!str ",
            "? ",
            "- ",
            ": ",
            "{",
            "}",
            "[",
            "]",
            "|",
            ">",
            "'",
            "\"",
            "#",
            "---\n",
            "...\n",
            "<<: ",
            "~",
            "\u{feff}",
            "\u{0}",
            "\u{85}",
            "é",
            "\r\n",
            "1e999",
            ".nan",
            "0x",
            "%YAML 1.1\n",
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![
        (any::<usize>(), 1..30_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<usize>(), piece).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        any::<usize>().prop_map(Damage::DoubleLine),
        any::<usize>().prop_map(Damage::DropLine),
        (any::<usize>(), 0..8_usize).prop_map(|(line, by)| Damage::Indent(line, by)),
    ]
}

fn apply(text: &str, damage: &Damage) -> String {
    let floor = |at: usize| {
        let at = at % (text.len() + 1);
        (0..=at)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap()
    };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let count = lines.len().max(1);
    match damage {
        Damage::Remove(at, length) => {
            let from = floor(*at);
            let to = floor((from + length).min(text.len()));
            format!("{}{}", &text[..from], &text[to.max(from)..])
        }
        Damage::Insert(at, piece) => {
            let at = floor(*at);
            format!("{}{piece}{}", &text[..at], &text[at..])
        }
        Damage::DoubleLine(line) | Damage::DropLine(line) | Damage::Indent(line, _) => {
            let chosen = line % count;
            let each = lines.iter().enumerate().map(|(index, line)| match damage {
                _ if index != chosen => (*line).to_owned(),
                Damage::DoubleLine(_) => format!("{line}{line}"),
                Damage::Indent(_, by) => {
                    format!("{}{}", " ".repeat(*by), line.trim_start_matches(' '))
                }
                _ => String::new(),
            });
            each.collect()
        }
    }
}

proptest! {
    // What fails once becomes a document of the corpus, not a seed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = read_secrets(&bytes);
    }

    #[test]
    fn any_text_is_answered(text in "[-a-c:?|>&*!%'\"{}\\[\\],# \\n\\t0-9~.é]{0,200}") {
        let _ = read(text.as_bytes());
    }

    #[test]
    fn damaged_documents_are_answered_without_secrets(
        which in 0..4_usize,
        damages in prop::collection::vec(damage(), 1..5),
    ) {
        let damaged = damages.iter().fold(ACCEPTED[which].clone(), |text, damage| apply(&text, damage));
        let answer = match read(damaged.as_bytes()) {
            Ok(bundle) => bundle.redacted(),
            Err(problems) => {
                prop_assert!(problems.len() > 0);
                problems.to_string()
            }
        };
        no_secret_in(&answer);
    }
}

#[test]
fn redaction_keeps_everything_else() {
    let text = document("accepted/everything.yaml");
    let shown = read(text.as_bytes()).unwrap().redacted();
    assert!(!shown.contains("do-not-show-this"), "{shown}");
    assert!(shown.contains("# a number is taken as written"));
    let from = text.find("apiVersion: v1\n      kind: Secret").unwrap();
    let until = text.find("\n    - \"{apiVersion").unwrap();
    assert_eq!(
        shown,
        format!("{}<redacted>{}", &text[..from], &text[until..])
    );

    let text = document("accepted/controlplane-with-secrets.yaml");
    let bundle = read(text.as_bytes()).unwrap();
    no_secret_in(&bundle.redacted());
    no_secret_in(&format!("{bundle:?}"));
    assert_eq!(bundle.redacted().matches("<redacted>").count(), 7);
}

#[test]
fn redaction_finds_copies_and_every_way_to_write() {
    let secrets = document("secrets.yaml");
    let token = secrets
        .lines()
        .find_map(|line| line.strip_prefix("bootstrapToken: "))
        .unwrap();
    let folded = secrets
        .replace(token, &format!(">-\n  {token}\n\n# the token is {token}"))
        .replace("encryptionKey: \"", "encryptionKey: \"\\u")
        .replace("\\u", "");
    let text = format!("{}---\n{folded}", document("accepted/least.yaml"))
        .replace("role: worker", "role: controlplane");
    let shown = read(text.as_bytes())
        .unwrap_or_else(|p| panic!("{p}"))
        .redacted();
    no_secret_in(&shown);
    assert!(shown.contains("# the token is <redacted>"), "{shown}");
}

/// What this process has used: a busy machine adds nothing to it.
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.try_into().unwrap()
}

#[test]
fn too_much_is_refused_quickly() {
    let head = "apiVersion: machined/v1\nkind: MachineConfig\n";
    let fill = |piece: &str| piece.repeat((LARGEST - 2000) / piece.len());
    let floods = [
        " ".repeat(LARGEST + 1),
        fill("["),
        fill("- "),
        fill("{"),
        fill("? "),
        fill("---\n"),
        fill("---\na: b\n"),
        fill("---\nkind: MachineConfig\n"),
        fill("a: &a b\n"),
        format!("{head}a: [{}]", fill("*a,")),
        format!("{head}machine: {{kernelModules: [{}]}}", fill("a,")),
        format!(
            "{head}machine: {{network: {{interfaces: [{}]}}}}",
            fill("{},")
        ),
        format!("{head}cluster: {{extraManifests: [{}]}}", fill("'{}',")),
        format!(
            "{head}machine:\n  kubelet:\n    extraConfig: [{}]",
            fill("1,")
        ),
        head.to_owned()
            + &(0..40_000)
                .map(|n| format!("machina{n}: 1\n"))
                .collect::<String>(),
        format!(
            "{head}machine:\n  sysctls:\n{}",
            (0..40_000)
                .map(|n| format!("    a{n}: 1\n"))
                .collect::<String>()
        ),
        format!("{head}cluster:\n  name: {}", fill("x")),
        format!("{head}cluster:\n  name: \"{}\"", fill("\\n")),
    ];
    for flood in floods {
        let before = processor_time();
        let problems = read(flood.as_bytes()).unwrap_err();
        let took = processor_time() - before;
        assert!(problems.len() <= machine_config::Problems::MOST + 1);
        assert!(problems.to_string().len() < 100_000);
        // Unoptimised; what this catches is growth with the square.
        assert!(
            took.as_secs() < 20,
            "{took:?} for {:?}",
            &flood[..200.min(flood.len())]
        );
    }
}

#[test]
fn line_ends_and_marks_of_other_systems_are_read() {
    let text = ACCEPTED[0].replace('\n', "\r\n");
    read(text.as_bytes()).unwrap_or_else(|p| panic!("{p}"));
    let text = format!("\u{feff}{}", ACCEPTED[0]);
    read(text.as_bytes()).unwrap_or_else(|p| panic!("{p}"));
}
