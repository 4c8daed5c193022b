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
import re
from pathlib import Path

from setuptools import find_namespace_packages
from setuptools import setup


HERE = Path(__file__).resolve().parent

# Address of the project's home, without a slash at its end.  While it is not
# known, the metadata name no address, and the long description leaves the
# pictures out: an index shows only those with a whole address.
HOME = ''

# The lower bounds are tried by "python3 .ci/wheels.py --lowest".
CORE = [
    'BTrees >= 5.0',
    'ZConfig >= 4.0',
    'ZODB >= 5.8',
    'cronsim >= 2.5',
    'persistent >= 5.0',
    'transaction >= 3.1',
    'tzdata >= 2023.3',
    'zc.lockfile >= 3.0',
    'zope.authentication >= 5.0',
    'zope.component >= 5.1',
    'zope.configuration >= 5.0',
    'zope.container >= 5.1',
    'zope.event >= 5.0',
    'zope.i18n >= 5.0',
    'zope.i18nmessageid >= 6.0',
    'zope.interface >= 6.0',
    'zope.lifecycleevent >= 5.0',
    'zope.location >= 5.0',
    'zope.processlifetime >= 3.0',
    'zope.schema >= 7.0',
    'zope.security >= 6.0',
    'zope.site >= 5.0',
    'zope.traversing >= 5.0',
]

# The pages and forms, inside an application that has a publisher.
UI = [
    'z3c.form >= 5.0',
    'zope.browser >= 3.0',
    'zope.browsermenu >= 5.0',
    'zope.browserpage >= 5.0',
    'zope.browserresource >= 5.0',
    'zope.error >= 5.0',
    'zope.i18n >= 5.0',
    'zope.location >= 5.0',
    'zope.publisher >= 7.2',
    'zope.traversing >= 5.0',
]

# What host.zcml includes beside that: the publisher of an application that
# has none yet, its users and its security policy; and a server.
HOST = UI + [
    'waitress >= 3.0',
    'zodburi >= 3.0',
    'zope.annotation >= 5.0',
    'zope.app.appsetup >= 5.0',
    'zope.app.publication >= 5.0',
    'zope.app.wsgi >= 5.0',
    'zope.login >= 3.0',
    'zope.password >= 5.0',
    'zope.principalregistry >= 5.0',
    'zope.securitypolicy >= 5.0',
    'zope.session >= 5.0',
]

# The pages and the runtime in an application of Pyramid.
PYRAMID = UI + [
    'pyramid >= 2.1',
    'pyramid-tm >= 2.5',
    'pyramid-zodbconn >= 0.8.1',
]

# The demo is such an application.
DEMO = HOST + [
    'docutils >= 0.20',
]

# The command line: tables in a terminal, and more URIs of databases.
CLI = [
    'rich >= 14.2',   # as import-linter, which the extra test has beside it
    'zodburi >= 3.0',
]

# Jobs in processes of Celery, told by messages.
CELERY = [
    'celery >= 5.7',
    'kombu >= 5.7',
]

# The metrics in the format of Prometheus.
METRICS = [
    'prometheus-client >= 0.17',
]

# The fixtures for pytest.
PYTEST = [
    'pytest >= 7.4',
    'zope.testing >= 5.0',
]

# The adapters for applications of Zope.
ZOPE = UI + [
    'AccessControl >= 6.3',
    'Acquisition >= 5.2',
    'Zope >= 5.13',
    'five.localsitemanager >= 4.0',
    'waitress >= 3.0',
    'zExceptions >= 5.0',
    'zope.globalrequest >= 2.0',
]

# The adapters for sites of Plone.
PLONE = ZOPE + [
    'Products.CMFCore >= 3.0',
    'Products.CMFPlone >= 6.1',
    'Products.statusmessages >= 5.0',
    'plone.app.contentrules >= 5.0',
    'plone.app.layout >= 5.0',
    'plone.app.uuid >= 2.2',
    'plone.base >= 2.0',
    'plone.contentrules >= 3.0',
    'plone.i18n >= 5.0',
    'plone.protect >= 5.0',
    'plone.registry >= 2.0',
    'plone.uuid >= 2.0',
]

TEST = DEMO + CLI + CELERY + METRICS + PYRAMID + PYTEST + [
    'Babel >= 2.12',
    'PyYAML >= 6.0.1',
    'RelStorage >= 4.0',
    'WebOb >= 1.8.7',
    'WebTest >= 3.0',
    'ZEO >= 6.0',
    'axe-playwright-python >= 0.1.4',
    'coverage >= 7.0',
    'flake8 >= 6.0',
    'gunicorn >= 23.0',
    'hypothesis >= 6.100',
    'import-linter >= 2.15',
    'isort >= 5.12',
    'mypy >= 2.4',
    'playwright >= 1.65',
    'psycopg2-binary >= 2.9.9',
    'redis >= 8.1',
    'zope.app.basicskin >= 5.0',
    'zope.app.container >= 5.0',
    'zope.app.pagetemplate >= 5.0',
    'zope.app.rotterdam >= 5.0',
    'zope.app.wsgi[testlayer] >= 5.0',
    'zope.copy >= 4.3',
    'zope.copypastemove >= 5.0',
    'zope.dublincore >= 5.0',
    'zope.pagetemplate >= 5.0',
    'zope.principalannotation >= 5.0',
    'zope.sendmail >= 6.0',
    'zope.tal >= 5.0',
    'zope.testbrowser >= 6.0',
    'zope.testrunner >= 8.3',
]

# The documentation.  Its reference reads the docstrings of the extras [ui] and
# [celery], too.
DOCS = [
    'Pygments >= 2.15',
    'Sphinx >= 8.0',
    'docutils >= 0.20',
    'furo >= 2024.8.6',
    'repoze.sphinx.autointerface >= 1.1',
]


# A picture of the README, with its options, and a link to a page.
_PICTURE = re.compile(
    r'^\.\. image:: (?P<path>docs/.*)\n(?:   .*\n)*\n?', re.MULTILINE)
_LINK = re.compile(r'`(?P<text>[^`<]+?)\s+<(?P<path>docs/[^>]+)>`_')


def read(*names):
    return HERE.joinpath(*names).read_text(encoding='utf-8')


def describe(home):
    """Return the long description.

    Its pictures and links are of *home*; without one they are left out.
    """
    def show(picture):
        return picture[0].replace(
            picture['path'], '%s/raw/HEAD/%s' % (home, picture['path'])
        ) if home else ''

    def lead(link):
        return link[0].replace(
            link['path'], '%s/blob/HEAD/%s' % (home, link['path'])
        ) if home else link['text']

    text = read('README.rst') + '\n\n' + read('CHANGES.rst')
    return _LINK.sub(lead, _PICTURE.sub(show, text))


def list_addresses(home):
    """Return the addresses that the metadata name, by their labels."""
    return {
        'Source': home,
        'Issues': home + '/issues',
        'Changes': home + '/blob/HEAD/CHANGES.rst',
    } if home else {}


def main():
    setup(
        name='cipher.background',
        version='3.0.0.dev0',
        description='Background work for applications that use the ZODB',
        long_description=describe(HOME),
        long_description_content_type='text/x-rst',
        author='Zope Foundation and Contributors',
        author_email='zope-dev@zope.dev',
        url=HOME,
        project_urls=list_addresses(HOME),
        license_expression='ZPL-2.1',
        license_files=['LICENSE', 'COPYRIGHT.txt'],
        keywords='zope zodb background worker thread job queue',
        classifiers=[
            'Development Status :: 3 - Alpha',
            'Environment :: Web Environment',
            'Framework :: Pyramid',
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
            'Typing :: Typed',
        ],
        python_requires='>=3.10',
        package_dir={'': 'src'},
        packages=find_namespace_packages(
            where='src', include=['cipher.background*']),
        package_data={
            '': [
                '*.css', '*.gz', '*.js', '*.mo', '*.png', '*.po', '*.pot',
                '*.pt', '*.pyi', '*.rst', '*.svg', '*.txt', '*.xml', '*.zcml',
                'py.typed',
            ],
        },
        install_requires=CORE,
        extras_require={
            'celery': CELERY,
            'cli': CLI,
            'host': HOST,
            'metrics': METRICS,
            'pyramid': PYRAMID,
            'ui': UI,
            'plone': PLONE,
            'zope': ZOPE,
            'demo': DEMO,
            'docs': DOCS,
            'pytest': PYTEST,
            'test': TEST,
        },
        entry_points={
            'console_scripts': [
                'cipher-background = cipher.background.cli.main:main',
            ],
            'pytest11': [
                'cipher_background = cipher.background.pytestplugin',
            ],
        },
        zip_safe=False,
    )


if __name__ == '__main__':
    main()
