// MLflow's client prints links to its own pages, /#/experiments/ID/runs/RUN and /#/models/NAME: redirect them to ours.
const { runs, models } = document.getElementById("mlflow-links").dataset;
const run = /^#\/experiments\/[^/]+\/runs\/([^/?]+)/.exec(location.hash);
const model = /^#\/models\/([^/?]+)/.exec(location.hash);
if (run) location.replace(`${runs}/${run[1]}`);
else if (model) location.replace(`${models}/${model[1]}`);
