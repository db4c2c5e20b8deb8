package Testing::Dashboards;
use Testing;

# The dashboards of EventSource::Cookbook in a real browser, with the real htmx, Turbo and Datastar.
#
#   dashboards_ok('htmx 4', 'Turbo');
#   dashboards_ok();    # all
#
# htmx 2 runs with the call that EventSource::Cookbook has for it.

use Exporter   qw(import);
use File::Spec ();
use File::Temp ();
use Test::EventSource;
use Testing::Browser;
use Testing::Clients::Install;
use Testing::Developer qw(needs);
use Testing::Node      qw(packages_missing);
use Testing::Server;
use Testing::SourceTree qw(slurp);

our @EXPORT_OK = qw(dashboards_ok);

my $MODULES  = File::Spec->rel2abs('examples/cookbook/node_modules');
my $DATASTAR = Testing::Clients::Install->path('datastar');

# How many streams the hub of the recipe has, for the test.
my $STREAMS = <<'PERL';
    mount '/streams' => sub { [200, ['Content-Type' => 'text/plain'], [$hub->stats->{streams}]] };
PERL

# The file of a recipe and the changes for another version of its library.
my %VARIANT = (
    'htmx 4' => {file => 'dashboard_htmx'},
    'htmx 2' => {
        file => 'dashboard_htmx',
        edit => [
            '/lib/htmx.org/dist/'  => '/lib/htmx-ext-sse/node_modules/htmx.org/dist/',
            'htmx[.]swap\([^)]*\)' => "htmx.swap(document.body, value, {swapStyle: 'none'})",
        ],
    },
    'Turbo'    => {file => 'dashboard_turbo'},
    'Datastar' => {
        file => 'dashboard_datastar',
        edit => [q{'/datastar.js'\)} => "'/datastar-core.js')", q{dirname\(__FILE__\)} => "'$DATASTAR'"],
    },
);

sub dashboards_ok {
    my @variants = @_ ? @_ : sort keys %VARIANT;
    Testing::Browser->require_or_skip_all;
    needs(packages_missing('examples/cookbook'));
    my $browser = Testing::Browser->start;
    for my $variant (@variants) {
        subtest $variant => sub {
            needs(Testing::Clients::Install->missing('datastar')) if $variant eq 'Datastar';
            my $psgi   = _edited($VARIANT{$variant}{file}, @{$VARIANT{$variant}{edit} || []});
            my $server = Testing::Server->start('Twiggy', $psgi->filename, workers => 1);
            my $es     = Test::EventSource->new(url => $server->url(''), timeout => 10);
            my $set    = sub { my %given = @_; $es->post('/set', form => [%given])->code };

            is $set->(name => 'load', value => 1), 204, 'a figure is set before there is a page';
            my @tabs = $browser->new_tab($server->url('/'));
            _shows($tabs[0], load => 1, 'the page shows it');
            is $set->(name => 'load', value => $_), 204, "the load is $_" for 2 .. 9;
            _shows($tabs[0], load => 9, 'the page shows the latest one');
            is $set->(name => 'users', value => "<i>\n7"), 204, 'a figure with markup and two lines is set';
            _shows($tabs[0], users => '<i>\n7', 'the page shows it as text');
            _shows($tabs[0], load  => 9,        'the other figure is unchanged');
            push @tabs, $browser->new_tab($server->url('/'));
            _shows($tabs[1], load  => 9,        'a tab that is opened later shows one figure');
            _shows($tabs[1], users => '<i>\n7', 'and the other one');
            is $server->ask('/streams'), 1, 'both tabs have one stream';
            is_deeply [$_->complaints], [], 'the browser reports no error' for @tabs;
            _restarted_ok($server, $set, @tabs);
            $_->close for @tabs;
        };
    }
    done_testing;
    return;
}

# A copy of a recipe's file, which finds the libraries.
sub _edited {
    my ($file, @edits) = (@_, '(?=    mount ./set)' => $STREAMS);
    my $text = slurp("examples/cookbook/$file.psgi");
    $text =~ s{dirname\(__FILE__\) [.] '/node_modules'}{"$MODULES"};
    while (my ($pattern, $new) = splice @edits, 0, 2) {
        $text =~ s/$pattern/$new/mg or die "$file has no $pattern";
    }
    my $copy = File::Temp->new(SUFFIX => '.psgi');
    print {$copy} $text;
    close $copy or die "$copy: $!";
    return $copy;
}

# Waits until an element of a tab shows a text.
sub _shows {
    my ($tab, $id, $text, $name) = @_;
    return $tab->wait_for("document.getElementById('$id')?.textContent === '$text'", $name);
}

# The hub of a server that was restarted knows no figure.
sub _restarted_ok {
    my ($server, $set, @tabs) = @_;
    $_->evaluate('window.isOld = true') for @tabs;
    $server->restart;
    _shows($_, users => '', 'a page shows no figure any more') for @tabs;
    is $set->(name => 'load', value => 4), 204, 'a figure is set after a restart';
    _shows($_, load => 4, 'a page shows it') for @tabs;
    ok $_->evaluate('window.isOld'), 'it was not loaded again' for @tabs;
    return;
}

1;
