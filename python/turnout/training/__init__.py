"""What every kind of router is trained on: tables of outcomes, battles and grades, as labels of a pair of models."""
