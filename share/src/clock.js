// The clock of Date may be set back. That of performance may stand still while the machine sleeps.

export const now = () => performance.now();

export const later = ms => new Promise(resolve => setTimeout(resolve, ms));
