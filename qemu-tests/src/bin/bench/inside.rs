//! Work on a thread of its own, because a thread is in one network.

use anyhow::Context;

/// Does the work where `enter` leads.
pub fn run<T: Send, W: Future<Output = anyhow::Result<T>>>(
    enter: impl FnOnce() -> anyhow::Result<()> + Send,
    work: impl FnOnce() -> W + Send,
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            enter()?;
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build()?.block_on(work())
        });
        thread.join().ok().context("a client panicked")?
    })
}
