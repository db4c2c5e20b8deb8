# The application of Testing::StreamServer (t/native, t/attack): streams with the settings of their query, held under names,
# and paths that push to them, end them and report on them, all in one process. Handlers report to a journal, which is a
# file.

use Testing::Application qw(answer answers query);
use EventSource::XS;
use Fcntl                   qw(O_APPEND O_CREAT O_WRONLY);
use JSON::PP                ();
use Testing::NumberedEvents qw(numbered);
use Plack::App::EventSource;
use Plack::Builder;
use Time::HiRes qw(ualarm);

my @SETTINGS = qw(keepalive linger max_buffered max_streams native on_full retry timeout);

my %HELD;    # connections by name
my %WHY;     # the reason of each stream's end, by name

my $journal;

# The file stays open: some tests leave no descriptor for another one.
sub report {
    my ($name, $text) = @_;
    my $file = $ENV{TESTING_JOURNAL} or die "TESTING_JOURNAL does not name a file\n";
    if (!$journal) { sysopen $journal, $file, O_WRONLY | O_APPEND | O_CREAT or die "$file: $!\n" }
    syswrite $journal, "$name $text\n";
    return;
}

# An application whose settings come with the request. A retry of two numbers is written 5-10.
sub source {
    my $handler = shift;
    return sub {
        my $env   = shift;
        my %query = query($env);
        my %given = map { defined $query{$_} ? ($_ => $query{$_}) : () } @SETTINGS;
        $given{retry} = [split /-/, $given{retry}] if ($given{retry} || '') =~ /-/;
        my $handle = sub { $handler->($_[0], \%query, $env) };
        return Plack::App::EventSource->new(%given, handler_cb => $handle)->to_app->($env);
    };
}

sub hold {
    my ($conn, $query) = @_;
    my $name = $query->{name};
    report($name, 'begins, native: ' . ($conn->is_native ? 1 : 0));
    $HELD{$name} = $conn;
    delete $WHY{$name};
    $conn->on_close(sub { $WHY{$name} = $_[1]; delete $HELD{$name}; report($name, "ended: $_[1]") });
    $conn->push({event => 'held'});
    return if !$query->{burst};
    my $taken = grep { $conn->push(numbered($_, $query->{bytes})) } 1 .. $query->{burst};
    report($name, "taken: $taken");
    return;
}

# Pushes as many events in the handler as the query says.
sub export {
    my ($conn, $query) = @_;
    my $name = $query->{name};
    $conn->on_close(sub { $WHY{$name} = $_[1] });
    report($name, 'begins, native: ' . ($conn->is_native ? 1 : 0));
    for my $number (1 .. $query->{count}) {
        my $taken = eval {
            local $SIG{ALRM} = sub { die "alarm\n" };
            ualarm 300_000 if $query->{alarm};
            my $answer = $conn->push(numbered($number, $query->{bytes})) ? 'taken' : 'gone';
            ualarm 0;
            $answer;
        };
        ualarm 0;
        if (!defined $taken) {
            report($name, "event $number: " . ($@ =~ s/\n//r) . ', open: ' . ($conn->is_open ? 1 : 0));
            next;
        }
        report($name, "event $number: $taken");
        last if $taken eq 'gone';
    }
    report($name, 'ends');
    return;
}

my %PATH = (
    close => sub {
        my %query = @_;
        my $conn  = $HELD{$query{name}} or return 'none';
        $conn->close;
        return 'closed';
    },
    forget => sub { %WHY = (); return 'forgotten' },
    plain  => sub { 'plain' },
    push   => sub {
        my %query = (from => 1, count => 1, bytes => 5, @_);
        my @names = defined $query{name} ? split(/,/, $query{name}) : sort keys %HELD;
        my $taken = 0;
        for my $number ($query{from} .. $query{from} + $query{count} - 1) {
            my $event = numbered($number, $query{bytes});
            $taken += $HELD{$_} && $HELD{$_}->push($event) ? 1 : 0 for @names;
        }
        return $taken;
    },
    stats => sub {
        my $state = sub {
            my $conn = $HELD{$_[0]};
            return {open => $conn->is_open ? 1 : 0, native => $conn->is_native ? 1 : 0, buffered => $conn->buffered};
        };
        my %held = map { ($_ => $state->($_)) } keys %HELD;
        return JSON::PP::encode_json({%{EventSource::XS->stats}, pid => $$, why => \%WHY, held => \%held});
    },
);

builder {
    mount "/$_"        => answers($PATH{$_}) for keys %PATH;
    mount '/export'    => source(\&export);
    mount '/forwarded' => sub { answer('for ' . ($_[0]{HTTP_X_FORWARDED_FOR} // 'nobody')) };
    mount '/held'      => source(\&hold);
};
