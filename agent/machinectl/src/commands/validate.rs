//! `validate`.

use crate::args::Documents;
use crate::documents;
use crate::failure::Failure;
use crate::files;

/// Checks documents and says what they are.
pub(super) fn run(args: &Documents) -> Result<(), Failure> {
    let mut text = String::new();
    for document in documents::read(&args.files, args.secrets.as_deref())? {
        let config = &document.bundle.config;
        for warning in machine_config::warnings(config) {
            crate::tell!("warning: {}: {warning}", document.path.display());
        }
        let secrets = match document.bundle.secrets {
            Some(_) => "with secrets",
            None => "without secrets",
        };
        text.push_str(&format!(
            "{}: valid: {} {} of cluster {}, Kubernetes {}, {secrets}\n",
            document.path.display(),
            config.role(),
            config.hostname(),
            config.cluster_name(),
            config.kubernetes_version(),
        ));
    }
    files::print(&text)
}
