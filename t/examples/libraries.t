# htmx and Turbo in a real browser show the events of a hub: with their own means, for which each tab has a stream, or
# as EventSource::Cookbook gives them one that all tabs share.

use lib 't/lib';
use Testing            qw(Browser);
use Testing::Developer qw(needs);
use Testing::Node      qw(packages_missing);
use Testing::Server;

needs(packages_missing('examples/cookbook'));

# How many tabs a page is opened in.
my %TABS = (
    'htmx-2'        => 1,
    'htmx-2-shared' => 2,
    'htmx-4'        => 1,
    'htmx-4-shared' => 2,
    'turbo'         => 1,
    'turbo-shared'  => 2,
);

my $server  = Testing::Server->start('Twiggy', 't/examples/libraries.psgi', workers => 1);
my $browser = Testing::Browser->start;

for my $name (sort keys %TABS) {
    subtest $name => sub {
        $server->ask('/set?text=before');
        my @tabs  = map { $browser->new_tab($server->url("/$name")) } 1 .. $TABS{$name};
        my $shows = sub {
            my $text = shift;
            $_->wait_for("document.getElementById('shown')?.textContent === '$text'", "a tab shows: $text") for @tabs;
        };
        $shows->('before');
        $server->ask("/set?text=$_") for 1 .. 3;
        $shows->(3);
        is $server->ask("/streams/$name"), 1, 'the hub has one stream';
        is_deeply [$_->complaints], [], 'the browser reports no error' for @tabs;
        $_->close for @tabs;
    };
}

done_testing;
