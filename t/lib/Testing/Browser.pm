package Testing::Browser;
use Testing;

# A real headless browser with one tab or several: Chromium, or another one of names. Its processes and its profile are removed
# with the object.
#
#   my $browser = Testing::Browser->start;
#   $browser->open($server->url('/'));
#   $browser->wait_for('document.title === "ready"', 'the page is ready');
#   my $tab = Testing::Browser->start('Firefox')->new_tab($server->url('/'));

use Carp               qw(croak);
use Testing::Developer qw(needs);
use Testing::Browser::Chromium;
use Testing::Browser::Firefox;

my %CLASS = map { /(\w+)\z/ ? ($1 => $_) : () } qw(Testing::Browser::Chromium Testing::Browser::Firefox);

# Why there is no such browser here; undef if there is.
sub missing { return _class($_[1])->missing }

# The browsers of a test: of t, one. xt runs it again in the others (Testing::Others). EVENTSOURCE_XS_BROWSERS names those of
# one run, with commas between.
sub names { return split /,/, $ENV{EVENTSOURCE_XS_BROWSERS} || 'Chromium' }

# Those that the tests of t leave out.
sub others { return 'Firefox' }

# Ends the test file, green, if there is no browser; with EVENTSOURCE_XS_FULL there has to be one.
sub require_or_skip_all { return needs($_[0]->missing($_[1])) }

sub start { return _class($_[1])->start }

sub _class { return $CLASS{$_[0] // 'Chromium'} || croak "Browser: there is no browser '$_[0]'" }

1;
