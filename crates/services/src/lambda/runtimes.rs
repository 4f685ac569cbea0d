//! What is known of AWS's runtime identifiers.

/// Whether AWS no longer lets functions be created with a runtime. Lambkin does, if the host has it, and
/// says so in its log.
pub(crate) fn is_deprecated(runtime: &str) -> bool {
    matches!(
        runtime,
        "nodejs"
            | "nodejs4.3"
            | "nodejs4.3-edge"
            | "nodejs6.10"
            | "nodejs8.10"
            | "nodejs10.x"
            | "nodejs12.x"
            | "nodejs14.x"
            | "nodejs16.x"
            | "nodejs18.x"
            | "java8"
            | "python2.7"
            | "python3.6"
            | "python3.7"
            | "python3.8"
            | "python3.9"
            | "dotnetcore1.0"
            | "dotnetcore2.0"
            | "dotnetcore2.1"
            | "dotnetcore3.1"
            | "dotnet6"
            | "go1.x"
            | "ruby2.5"
            | "ruby2.7"
            | "provided"
    )
}

/// The architecture of this machine in AWS's words, if AWS has a word for it.
pub(crate) fn host_architecture() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("x86_64"),
        "aarch64" => Some("arm64"),
        _ => None,
    }
}
