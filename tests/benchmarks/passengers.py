"""A notebook of the size people convert: 34 cells in 9 steps with Kale's tags, and the table it reads.

It follows the usual tutorial on predicting who survives a shipwreck; the passengers are made up.
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

# A line "# %%" opens a cell and gives its tags. Kale 2.3 converts and runs it too, so both tools do the same work.
NOTEBOOK = r"""
# %% [markdown]
# Who survives?

A made-up passenger list, five models, one comparison.
# %% imports
import numpy as np
import pandas as pd
from sklearn import linear_model
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
# %% pipeline-parameters
TREES = 50
DEPTH = 5
PENALTY = 0.5
# %% functions
def share(part, whole):
    return round(100 * part / max(whole, 1), 2)
# %% [markdown]
## Load
# %% step:loaddata
people = pd.read_csv("passengers.csv")
label = "Survived"
# %%
people.head()
# %%
people.describe()
# %%
missing = people.isnull().sum().sort_values(ascending=False)
missing.head()
# %% [markdown]
## Clean
# %% step:datapreprocessing prev:loaddata
people = people.drop(["PassengerId"], axis=1)
# %%
people["Deck"] = people["Cabin"].fillna("U0").str[0].map({"A": 1, "B": 2, "C": 3, "U": 8}).fillna(0).astype(int)
# %%
people = people.drop(["Cabin"], axis=1)
# %%
spread, middle = people["Age"].std(), people["Age"].mean()
people["Age"] = people["Age"].fillna(middle)
# %%
people["Embarked"] = people["Embarked"].fillna("S")
# %%
people["Fare"] = people["Fare"].fillna(0).astype(int)
# %% [markdown]
## Features
# %% step:featureengineering prev:datapreprocessing
people["Title"] = people["Name"].str.extract(r", (\w+)\.", expand=False)
# %%
people["Title"] = people["Title"].map({"Mr": 1, "Miss": 2, "Mrs": 3, "Master": 4}).fillna(0).astype(int)
# %%
people["Sex"] = people["Sex"].map({"male": 0, "female": 1})
people["Embarked"] = people["Embarked"].map({"S": 0, "C": 1, "Q": 2})
# %%
people["Relatives"] = people["SibSp"] + people["Parch"]
people["Alone"] = (people["Relatives"] > 0).astype(int)
# %%
people["AgeGroup"] = pd.cut(people["Age"], 6, labels=False)
people["FareGroup"] = pd.qcut(people["Fare"], 5, labels=False, duplicates="drop")
# %%
people = people.drop(["Name", "Ticket"], axis=1)
# %%
train_labels = people[label]
train_people = people.drop(label, axis=1)
# %% [markdown]
## Models
# %% step:randomforest prev:featureengineering
forest = RandomForestClassifier(n_estimators=TREES, random_state=0)
forest.fit(train_people, train_labels)
acc_forest = share(forest.score(train_people, train_labels), 1)
# %% step:logisticregression prev:featureengineering
regression = linear_model.LogisticRegression(C=PENALTY, max_iter=500)
regression.fit(train_people, train_labels)
acc_regression = share(regression.score(train_people, train_labels), 1)
# %% step:naivebayes prev:featureengineering
bayes = GaussianNB()
bayes.fit(train_people, train_labels)
acc_bayes = share(bayes.score(train_people, train_labels), 1)
# %% step:svm prev:featureengineering
vectors = SVC(gamma="auto")
vectors.fit(train_people, train_labels)
acc_vectors = share(vectors.score(train_people, train_labels), 1)
# %% step:decisiontree prev:featureengineering
tree = DecisionTreeClassifier(max_depth=DEPTH, random_state=0)
tree.fit(train_people, train_labels)
acc_tree = share(tree.score(train_people, train_labels), 1)
# %% [markdown]
## Results
# %% step:results prev:randomforest prev:logisticregression prev:naivebayes prev:svm prev:decisiontree
results = pd.DataFrame({"Model": ["Vectors", "Regression", "Forest", "Bayes", "Tree"],
    "Score": [acc_vectors, acc_regression, acc_forest, acc_bayes, acc_tree]})
# %%
results = results.sort_values(by="Score", ascending=False)
best = float(results["Score"].max())
print(results)
# %% pipeline-metrics
print(best)
"""


def cells() -> list[dict[str, Any]]:
    """Return the cells of the notebook in the file format's terms."""
    found: list[dict[str, Any]] = []
    for number, text in enumerate(NOTEBOOK.split("\n# %%")[1:]):
        head, _, source = text.partition("\n")
        cell: dict[str, Any] = {"id": f"cell-{number}", "source": source.strip("\n"), "metadata": {}}
        if head.strip() == "[markdown]":
            cell["cell_type"] = "markdown"
        else:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
            if head.strip():
                cell["metadata"] = {"tags": head.split()}
        found.append(cell)
    return found


def write(folder: Path, passengers: int = 891) -> Path:
    """Write the notebook and its table into a folder; return the notebook."""
    kale = {"experiment_name": "benchmark", "pipeline_name": "passengers", "pipeline_description": "who survives"}
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "kubeflow_notebook": {**kale, "base_image": "", "volumes": [], "snapshot_volumes": False},
    }
    notebook = folder / "passengers.ipynb"
    notebook.write_text(
        json.dumps({"cells": cells(), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1)
    )
    _write_table(folder / "passengers.csv", passengers)
    return notebook


def _write_table(path: Path, passengers: int) -> None:
    draw = random.Random(1912)
    columns = "PassengerId Survived Pclass Name Sex Age SibSp Parch Ticket Fare Cabin Embarked"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns.split())
        for number in range(1, passengers + 1):
            sex = draw.choice(["male", "male", "female"])
            title = draw.choice(["Mr", "Master"] if sex == "male" else ["Mrs", "Miss"])
            first_class = draw.randint(1, 3)
            survived = int(draw.random() < (0.7 if sex == "female" else 0.2) + 0.1 * (2 - first_class))
            age = "" if draw.random() < 0.2 else round(draw.uniform(1, 75), 1)
            cabin = draw.choice(["", "", "A12", "B4", "C85"])
            name = f"Person{number}, {title}. Made Up"
            table.writerow(
                [number, survived, first_class, name, sex, age, draw.randint(0, 3), draw.randint(0, 2)]
                + [f"T{number}", round(draw.uniform(5, 200) / first_class, 2), cabin, draw.choice("SCQ")]
            )
