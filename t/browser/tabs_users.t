# Tabs of several users of one browser: whoever logs in, a page is given the stream of its own user only. The server says whose
# it is, by the labels of the stream. They need nothing of the module for polls.

use lib 't/lib';
use Testing;
use Testing::Tabs;

Testing::Tabs->require_or_skip_all($_) for Testing::Browser->names;

for my $browser (Testing::Browser->names) {
    my $running = Testing::Browser->start($browser);
    for my $way (Testing::Tabs->ways) {
        my ($name, %without) = @$way;
        my $is_shared = !%without || $without{without} eq 'SharedWorker';
        subtest "$browser, $name" => sub {
            my $tabs   = Testing::Tabs->start($running, page => {url => '/mine', %without}, position => 'event');
            my $blank  = $tabs->browser->new_tab($tabs->server->url('/blank'));
            my $log_in = sub { $blank->evaluate("document.cookie = 'user=$_[0]; path=/', 1") };
            my $has_ok = sub {
                my ($tab, $mine, $name) = @_;
                $tab->wait_for("mine.join() === '$mine'", $name) or diag explain $tab->evaluate('[mine, events]');
            };
            my $publish = sub { $tabs->hub->publish("user/$_", {event => 'mine', data => "$_ $_[0]"}) for qw(ann bob) };

            $log_in->('ann');
            my @ann = map { $tabs->open } 1, 2;
            $publish->(1);
            $has_ok->($_, 'ann 1', 'ann has her event') for @ann;
            $log_in->('bob');
            my @bob = map { $tabs->open } 1, 2;
            $publish->(2);
            $has_ok->($_, 'ann 1,ann 2', 'a tab of ann has the events of ann')        for @ann;
            $has_ok->($_, 'bob 2',       'a tab that bob opened later, those of bob') for @bob;
            is $tabs->streams, $is_shared ? 2 : 4, 'the streams of two users';

            # The stream of ann comes back with the cookie of bob.
            $_->evaluate('console.warn = text => events.push(text), 1') for @ann;
            $tabs->hub->end(label => 'ann');
            $_->wait_for('hub.readyState === 2', 'the stream of ann has ended') for @ann;
            $publish->(3);
            $has_ok->($_, 'bob 2,bob 3', 'bob has all of his')   for @bob;
            $has_ok->($_, 'ann 1,ann 2', 'ann has nothing more') for @ann;
            is $ann[0]->evaluate('events.at(-1)'), 'error 403', 'a page is told why';
            my ($line, @more) = grep { /another user's stream/ } @{$ann[0]->evaluate('events')};
            like $line, qr/"Who reads"/, 'the console has a line with the remedy';
            is @more, 0, 'it has one';
            $_->close for $blank, $tabs->tabs;
        };
    }
}

done_testing;
