# The application of t/attack/exit_status.t: it holds its connections as the manual of Plack::App::EventSource shows, and
# reports to a journal what runs at the end of its process.

use Testing::Application qw(answer);
use Plack::App::EventSource;
use Plack::Builder;

our $journal = $ENV{EXIT_JOURNAL};
our $native  = $ENV{EXIT_NATIVE};

sub report {
    my $text = shift;
    open my $file, '>>', $journal or return;
    syswrite $file, "$text\n";
    return;
}

sub Kept::DESTROY { report('destroyed'); return }
our $kept = bless [], 'Kept';
END { report('END') }

our %readers;

builder {
    mount '/plain' => sub { return answer('plain') };
    mount '/held' => Plack::App::EventSource->new(
        native     => $native,
        handler_cb => sub {
            my ($conn) = @_;
            $readers{$conn} = $conn;
            $conn->on_close(sub { my ($conn, $why) = @_; report("closed: $why"); delete $readers{$conn} });
            $conn->push({event => 'held'});
        }
    )->to_app;
};
