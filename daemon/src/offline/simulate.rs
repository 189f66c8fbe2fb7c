pub(crate) fn simulate(_: &crate::cli::SimulateArgs) -> Result<(), crate::failure::Failure> {
    Ok(())
}
