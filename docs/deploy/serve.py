"""The web process of an application; its settings are in the environment."""
import os

from cipher.background.hosts.ztk import serve


serve('site.zcml', db=os.environ.get('DMS_DATABASE', 'Data.fs'),
      host=os.environ.get('DMS_HOST', '127.0.0.1'),
      port=int(os.environ.get('DMS_PORT', '8080')))
