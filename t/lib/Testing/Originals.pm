package Testing::Originals;
use Testing;
use Testing::SourceTree qw(slurp);

# Compares a drop-in with the module that it replaces. Both run the same cases, each in a process of its own. The originals'
# sources are found through EVENTSOURCE_ORIGINALS, by default in ../shared/originals.
#
#   Testing::Originals->compare('Testing::Originals::ServerEvent');
#
# A class of cases has cases($random), which returns arrays of a name and a code reference, whose result in list context is
# compared. A deliberate difference has two elements more: its item in EventSource::Migration, and the drop-in's result in
# an array, or a pattern of its exception. Where the original dies, the drop-in is free. $random->(@values) returns one of
# the values, and $random->() a whole number.

use JSON::PP     ();
use Scalar::Util qw(blessed);

my $FOLDER    = $ENV{EVENTSOURCE_ORIGINALS} || '../shared/originals';
my $SEED      = defined $ENV{EVENTSOURCE_XS_SEED} ? $ENV{EVENTSOURCE_XS_SEED} : time;
my @LIBRARIES = map { "$FOLDER/$_/lib" } qw(plack-app-eventsource http-serverevent);

sub compare {
    my ($class, $cases) = @_;
    plan skip_all => "there are no originals in $FOLDER" if grep { !-d } @LIBRARIES;
    my $theirs = _results($cases, map { "-I$_" } @LIBRARIES);
    my $ours   = _results($cases, '-Mblib');
    my @cases  = $cases->cases(_random());
    is_deeply [map { scalar @$_ } $theirs, $ours], [(scalar @cases) x 2], 'both processes ran all cases';
    my $listed = _listed();
    my ($same, $free) = (0, 0);

    for my $at (0 .. $#cases) {
        my ($name, undef, $row, $expected) = @{$cases[$at]};
        my ($their, $our) = ($theirs->[$at], $ours->[$at]);
        if (defined $row) {
            ok $listed->{$row}, "$name: the manual lists '$row'";
            if (ref $expected eq 'ARRAY') {
                is_deeply $our, {result => $expected}, "$name: the difference is as stated";
            }
            else { like $our->{died}, $expected, "$name: the drop-in dies as stated" }
            isnt _json($our), _json($their), "$name: the difference is one";
        }
        elsif (defined $their->{died})       { $free++ }
        elsif (_json($our) eq _json($their)) { $same++ }
        else { fail "$name: the same result" or diag explain {ours => $our, original => $their} }
    }
    pass "$same results are the same";
    note "$free cases in which the original dies";
    diag "EVENTSOURCE_XS_SEED=$SEED" if !Test::More->builder->is_passing;
    done_testing;
    return;
}

# Runs the cases in this process, and prints the results.
sub run {
    my ($class, $cases) = @_;
    local $SIG{__WARN__} = sub { };
    for my $case ($cases->cases(_random())) {
        local $SIG{ALRM} = sub { die "still running after 10 s\n" };
        alarm 10;
        my @result;
        my $ok    = eval { @result = $case->[1]->(); 1 };
        my $error = $@;
        alarm 0;
        print _json($ok ? {result => _plain(\@result)} : {died => "$error"}), "\n";
    }
    return;
}

sub _json { return JSON::PP->new->canonical->ascii->allow_nonref->encode(shift) }

# A value as plain data. No address is in it.
sub _plain {
    my $value = shift;
    return undef                                             if !defined $value;
    return [map { _plain($_) } @$value]                      if ref $value eq 'ARRAY';
    return {map { $_ => _plain($value->{$_}) } keys %$value} if ref $value eq 'HASH';
    return 'an object of ' . ref $value                      if blessed $value;
    return "a reference to $1"                               if ref $value && "$value" =~ /\A(\w+)/;
    my $text = "$value";
    $text =~ s/\(0x[0-9a-f]+\)/(0x...)/g;
    return $text;
}

# The same in both processes.
sub _random {
    srand $SEED;
    return sub { return @_ ? $_[rand @_] : int rand 1_000_000 };
}

# The items of the manual, with code as Markdown marks it.
sub _listed {
    my ($list) = slurp('perl/EventSource/Migration.pod') =~ /^=head2 All differences\n(.*?)^=back/ms;
    return {map { /\A=item (.*)/ ? (_without_pod($1) => 1) : () } split /\n/, $list};
}

sub _without_pod { return $_[0] =~ s/C<<+ (.*?) >>+/`$1`/gr =~ s/C<(.*?)>/`$1`/gr }

sub _results {
    my ($cases, @library) = @_;
    local $ENV{EVENTSOURCE_XS_SEED} = $SEED;
    my @command =
        ($^X, @library, '-It/lib', "-M$cases", '-MTesting::Originals', '-e', "Testing::Originals->run('$cases')");
    open my $output, '-|', @command or die "$^X: $!\n";
    my @results = map { JSON::PP->new->allow_nonref->decode($_) } <$output>;
    close $output or diag "@command ended with $?";
    return \@results;
}

1;
