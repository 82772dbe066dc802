// The scripts of every page.
import "./stored_settings.js";
import "./times.js";
import "./forms.js";
import "./copy.js";
import "./keys.js";
import "./auto_submit.js";
import "./chooser.js";
import "./live.js";
import "./selection.js";
import "./selection_actions.js";
