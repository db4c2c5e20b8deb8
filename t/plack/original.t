# Plack::App::EventSource and its connection accept what the original module accepts, with the same result.

use lib 't/lib';
use Testing;
use Testing::Originals;
use Testing::Originals::App;

Testing::Originals->compare('Testing::Originals::App');
