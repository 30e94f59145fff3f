//! A machine without a trust anchor: the code on its console, bound to the
//! connection, is the only way in.

use anyhow::{Context, ensure};
use qemu_tests::{Image, Machine, Spec, Workshop, gen_config, machinectl, machinectl_fails};

#[test]
fn only_the_code_on_the_console_enrols() -> anyhow::Result<()> {
    let (image, shop) = (Image::from_env()?, Workshop::new("enrol-by-code")?);
    let home = shop.path();
    let words = ["--name", "demo", "--endpoint", "10.0.2.15:6443"];
    gen_config(
        home,
        "demo",
        &[&words[..], &["--control-planes", "cp1"]].concat(),
    )?;
    let config = home.join("demo/cp1.yaml").display().to_string();
    let spec = Spec {
        name: "cp1".to_owned(),
        ..Spec::default()
    };
    let machine = Machine::boot(&image, &shop, &spec)?;
    let line = machine.console("enrolment code ", 120)?;
    let code = line
        .rsplit("enrolment code ")
        .next()
        .context("no code")?
        .trim()
        .to_owned();
    let node = format!("cp1={}", machine.api);

    let apply = |code: &str| {
        ["apply-config", "-n", &node, "-f", &config, "--code", code].map(str::to_owned)
    };
    let run = |words: &[String]| {
        words
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    // A well-formed code of another machine.
    let wrong = machine_pki::code::EnrolmentCode::generate()?.to_string();
    let wrong = apply(&wrong);
    let refused = machinectl_fails(home, &wrong.each_ref().map(String::as_str), 60)
        .with_context(|| run(&wrong))?;
    ensure!(
        refused.stderr.contains("code"),
        "unclear: {}",
        refused.stderr
    );
    let right = apply(&code);
    machinectl(home, &right.each_ref().map(String::as_str), 60)?;
    machine.console("cp1 serves the machine API, generation 1", 60)?;
    // It works once.
    machinectl_fails(home, &right.each_ref().map(String::as_str), 60)?;
    let status = machinectl(home, &["status", "-n", &node], 60)?;
    ensure!(status.contains("controlplane"), "{status}");
    shop.done();
    Ok(())
}
