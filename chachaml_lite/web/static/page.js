// The scripts of every page.
import "./remembered.js";
import "./times.js";
import "./forms.js";
import "./copy.js";
import "./keys.js";
import "./at_once.js";
import "./chooser.js";
import "./live.js";
import "./selection.js";
import "./selection_acts.js";
