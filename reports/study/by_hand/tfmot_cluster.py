"""Weight clustering with tfmot, then int8 by the converter: `python tfmot_cluster.py DATA MODEL OUT --clusters 16`."""

import common
from tensorflow_model_optimization.clustering import keras as clustering

asked = common.arguments(clusters=16)
splits = common.read(asked)
clustered = clustering.cluster_weights(
    common.baseline(asked.model),
    number_of_clusters=asked.clusters,
    cluster_centroids_init=clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
)
common.train(clustered, splits, asked.epochs, rate=0.002)
asked.out.write_bytes(common.int8(clustering.strip_clustering(clustered), splits["train"][0]))
