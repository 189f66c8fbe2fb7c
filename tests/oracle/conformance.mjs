export function conformancePage() { return ''; }
