// The console of the script: silent below the level chosen with OT.setLogLevel.

const NONE = 0;
const ERROR = 1;
const WARN = 2;
const INFO = 3;
const LOG = 4;
const DEBUG = 5;

const CONSOLE_OF = { [ERROR]: "error", [WARN]: "warn", [INFO]: "info", [LOG]: "log", [DEBUG]: "debug" };

let logLevel = ERROR;

function setLogLevel(level) {
  logLevel = level;
  return logLevel;
}

// Tokens and signal data are never passed in here.
function log(level, ...words) {
  if (level <= logLevel && level !== NONE) console[CONSOLE_OF[level]]("[OT]", ...words);
}
