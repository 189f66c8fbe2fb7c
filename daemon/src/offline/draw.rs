pub(crate) fn draw(_: &crate::cli::DrawArgs) -> Result<(), crate::failure::Failure> {
    Ok(())
}
pub(crate) fn schema() -> Result<(), crate::failure::Failure> {
    Ok(())
}
