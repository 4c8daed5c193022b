##############################################################################
#
# Copyright (c) Zope Foundation and Contributors.
# All Rights Reserved.
#
# This software is subject to the provisions of the Zope Public License,
# Version 2.1 (ZPL).  A copy of the ZPL should accompany this distribution.
# THIS SOFTWARE IS PROVIDED "AS IS" AND ANY AND ALL EXPRESS OR IMPLIED
# WARRANTIES ARE DISCLAIMED, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
# WARRANTIES OF TITLE, MERCHANTABILITY, AGAINST INFRINGEMENT, AND FITNESS
# FOR A PARTICULAR PURPOSE.
#
##############################################################################
"""Setup for package cipher.background
"""
from pathlib import Path

from setuptools import find_namespace_packages
from setuptools import setup


HERE = Path(__file__).resolve().parent

CORE = [
    'BTrees',
    'ZODB',
    'cronsim',
    'persistent',
    'transaction',
    'tzdata',
    'zope.authentication',
    'zope.component',
    'zope.configuration',
    'zope.container',
    'zope.event',
    'zope.i18nmessageid',
    'zope.interface',
    'zope.lifecycleevent',
    'zope.processlifetime',
    'zope.schema',
    'zope.security',
    'zope.site',
]

# The pages and forms, inside an application that has a publisher.
UI = [
    'z3c.form',
    'zope.browsermenu',
    'zope.browserpage',
    'zope.browserresource',
    'zope.i18n',
    'zope.ptresource',
    'zope.publisher',
    'zope.traversing',
]

# A whole WSGI application around them.
DEMO = UI + [
    'docutils',
    'waitress',
    'zodburi',
    'zope.app.appsetup',
    'zope.app.publication',
    'zope.app.wsgi',
    'zope.error',
    'zope.login',
    'zope.password',
    'zope.pluggableauth',
    'zope.principalregistry',
    'zope.securitypolicy',
    'zope.session',
]

# Jobs in processes of Celery, told by messages.
CELERY = [
    'celery',
]

TEST = DEMO + CELERY + [
    'Babel',
    'RelStorage',
    'ZEO',
    'axe-playwright-python',
    'coverage',
    'flake8',
    'hypothesis',
    'import-linter',
    'isort',
    'playwright',
    'psycopg2-binary',
    'redis',
    'zope.app.container',
    'zope.app.rotterdam',
    'zope.app.wsgi[testlayer]',
    'zope.copypastemove',
    'zope.dublincore',
    'zope.principalannotation',
    'zope.sendmail',
    'zope.testbrowser',
    'zope.testing',
    'zope.testrunner',
]

DOCS = [
    'Pygments',
    'docutils',
]


def read(*names):
    return HERE.joinpath(*names).read_text(encoding='utf-8')


setup(
    name='cipher.background',
    version='3.0.0.dev0',
    description='Background work for applications that use the ZODB',
    long_description=read('README.rst') + '\n\n' + read('CHANGES.rst'),
    long_description_content_type='text/x-rst',
    author='Zope Foundation and Contributors',
    author_email='zope-dev@zope.dev',
    license='ZPL-2.1',
    license_files=['LICENSE', 'COPYRIGHT.txt'],
    keywords='zope zodb background worker thread job queue',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Environment :: Web Environment',
        'Framework :: Zope :: 3',
        'Framework :: ZODB',
        'Intended Audience :: Developers',
        'Intended Audience :: System Administrators',
        'Natural Language :: English',
        'Operating System :: POSIX',
        'Programming Language :: Python',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Programming Language :: Python :: Implementation :: CPython',
        'Topic :: Internet :: WWW/HTTP',
    ],
    python_requires='>=3.10',
    package_dir={'': 'src'},
    packages=find_namespace_packages(
        where='src', include=['cipher.background*']),
    package_data={
        '': [
            '*.css', '*.js', '*.mo', '*.png', '*.po', '*.pot', '*.pt',
            '*.rst', '*.svg', '*.txt', '*.zcml',
        ],
    },
    install_requires=CORE,
    extras_require={
        'celery': CELERY,
        'ui': UI,
        'demo': DEMO,
        'docs': DOCS,
        'test': TEST,
    },
    entry_points={
        'console_scripts': [
            'cipher-background = cipher.background.cli:main',
        ],
    },
    zip_safe=False,
)
