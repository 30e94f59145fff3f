use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn one(text: &str) -> Value {
    let mut all = read(text).unwrap_or_else(|_| panic!("refused: {text}"));
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

#[test]
fn words_are_what_kubectl_takes_them_for() {
    for (text, value) in [
        ("", json!(null)),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("yesterday", json!("yesterday")),
        ("0", json!(0)),
        ("-0", json!(0)),
        ("+12", json!(12)),
        ("1_000", json!(1000)),
        ("_1", json!("_1")),
        ("1__0", json!("1__0")),
        ("0644", json!(420)),
        ("0o644", json!(420)),
        ("0x1F", json!(31)),
        ("-0b11", json!(-3)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("1e3", json!(1000.0)),
        ("1.20.2", json!("1.20.2")),
        ("12:30", json!("12:30")),
        ("2026-01-01", json!("2026-01-01")),
        ("inf", json!("inf")),
        ("100m", json!("100m")),
        ("\"no\"", json!("no")),
        ("'0644'", json!("0644")),
        ("!!str 12", json!("12")),
        ("!!int '12'", json!(12)),
        ("!!binary aGk=", json!("hi")),
        ("|\n  a\n  b\n", json!("a\nb\n")),
        (">-\n  a\n  b\n", json!("a b")),
    ] {
        assert_eq!(
            one(&format!("a: {text}\n")),
            json!({ "a": value }),
            "{text}"
        );
    }
}

#[test]
fn what_json_cannot_say_is_refused() {
    for text in [
        "a: 1\na: 2\n",
        "a: .inf\n",
        "a: -.NaN\n",
        "a: 1e999\n",
        "? [a]\n: b\n",
        "? {a: b}\n: c\n",
        "a: *gone\n",
        "a: &x [*x]\n",
        "a: [\n",
        "a: b: c\n",
        "<<: text\n",
        "!!int a\n",
    ] {
        assert_eq!(read(text), Err(NotYaml), "{text}");
    }
}

#[test]
fn every_document_of_a_stream_is_read() {
    assert_eq!(read("").unwrap(), Vec::<Value>::new());
    let all = read("# nothing\n---\na: 1\n---\n---\n- b\n...\n").unwrap();
    assert_eq!(all, [json!({ "a": 1 }), json!(null), json!(["b"])]);
}

#[test]
fn aliases_repeat_and_merge_keys_fill_in() {
    let text = "base: &base {a: 1, b: 1}\nmore: &more {b: 2, c: 2}\n\
        own:\n  <<: [*base, *more]\n  a: 0\nsame: *base\n";
    let expected = json!({ "a": 0, "b": 1, "c": 2 });
    let read = one(text);
    assert_eq!(read["own"], expected);
    assert_eq!(read["same"], json!({ "a": 1, "b": 1 }));
    assert_eq!(one("\"<<\": a\n"), json!({ "<<": "a" }));
}

#[test]
fn no_text_fills_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = format!("*a{}, ", level - 1).repeat(9);
        text += &format!("a{level}: &a{level} [{inner}]\n");
    }
    assert_eq!(read(&text), Err(NotYaml));
    assert_eq!(read(&"[".repeat(200)), Err(NotYaml));
    let deep = "[".repeat(60) + &"]".repeat(60);
    assert!(read(&deep).is_ok());
}

/// An independent reader's answer, with the same leave to read octal numbers.
fn other(text: &str) -> Option<Vec<Value>> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let all = serde_saphyr::from_multiple_with_options::<Value>(text, options).ok()?;
    Some(all.into_iter().filter(|value| !value.is_null()).collect())
}

fn ours(text: &str) -> Option<Vec<Value>> {
    let all = read(text).ok()?;
    Some(all.into_iter().filter(|value| !value.is_null()).collect())
}

proptest! {
    #[test]
    fn another_reader_takes_words_for_the_same(word in "[-+0-9a-fA-Fnoxy._:~]{1,8}|(true|Yes|NO|null|0x|0b)[0-9_]{0,3}") {
        let text = format!("a: {word}\n");
        prop_assert_eq!(ours(&text), other(&text), "{}", text);
    }

    #[test]
    fn another_reader_takes_structures_for_the_same(
        lines in prop::collection::vec("( {0,2}|  - |- )[ab](: ?([bc]|[|>]|&a x|\\*a|\\[a, b\\]|\\{a: b\\}|'a'|\"a\")?)?", 1..6)
    ) {
        let text = lines.join("\n") + "\n";
        prop_assert_eq!(ours(&text), other(&text), "{}", text);
    }
}
