# Where the distribution expects an exception of its own, a handler of $SIG{__DIE__} does not see it, which may end the process.
# So a sub with an eval has `local $SIG{__DIE__}`; unless the eval runs code of the application, or the exception reaches the
# caller as another one, or it is reported as a failure.
#
# A handler of $SIG{__WARN__} may die. EventSource::XS::ErrorLog warns without harm to others; Settings warns of a caller's
# mistake.

use lib 't/lib';
use Testing;
use Testing::SourceTree qw(distribution_files slurp);

# The programs of the distribution have no such handler, and what tests an application runs in a test.
my $PROGRAMS = qr{\Aperl/(?:EventSource/XS/(?:Command|Doctor|Test)/|EventSource/XS/(?:Command|Doctor)[.]pm|Test/)};

my %APPLICATION = (
    'EventSource/Server.pm'                  => [qw(_run_supply)],
    'EventSource/Server/Supply.pm'           => [qw(_call)],
    'EventSource/XS/ErrorLog.pm'             => [qw(call_back)],
    'EventSource/XS/Server/Source.pm'        => [qw(EventSource::XS::Server::Source::Tapped::DESTROY _begin_iterator)],
    'EventSource/XS/Signals.pm'              => [qw(without_signals)],
    'EventSource/XS/Stream/Child.pm'         => [qw(_leave _run first_at_exit)],
    'EventSource/XS/Stream/Relay/Process.pm' => [qw(_within)],
    'Plack/App/EventSource.pm'               => [qw(run_handler)],
);
my %RETHROWN = (
    'Plack/App/EventSource.pm'        => [qw(check_at_request)],
    'Plack/Middleware/EventSource.pm' => [qw(prepare_app)],
);
my %REPORTED = (
    'EventSource/Server.pm'                  => [qw(DESTROY)],
    'EventSource/XS/Hub/App.pm'              => [qw(run_handler)],
    'EventSource/XS/Stream/Relay.pm'         => [qw(_wait_for_hub fail)],
    'EventSource/XS/Stream/Relay/Process.pm' => [qw(_run)],
    'Plack/App/EventSource.pm'               => [qw(after_handler)],
);

# The subs with an eval, with the name of the file, that do not hide it.
sub subs_that_show {
    my $file   = shift;
    my ($code) = split /^__END__$/m, slurp($file);
    my %shows;
    for my $sub (split /^(?=sub \w|END \{)/m, $code =~ s/^\s*#.*//mgr) {
        my ($name) = $sub =~ /\Asub (\S+)/;
        $shows{($file =~ s{\Aperl/}{}r) . ': ' . ($name // '-')} = 1
            if $sub =~ /\beval\b\s*[\{']/ && $sub !~ /SIG\{__DIE__\}/;
    }
    my @shows = sort keys %shows;
    return @shows;
}

sub listed {
    return map {
        my $list = $_;
        map {
            my $file = $_;
            map { "$file: $_" } @{$list->{$file}}
        } keys %$list
    } @_;
}

my @shown = map { subs_that_show($_) } grep { m{\Aperl/.*[.]pm\z} && $_ !~ $PROGRAMS } distribution_files();
is_deeply [sort @shown], [sort(listed(\%APPLICATION, \%RETHROWN, \%REPORTED))],
    'the evals that are listed, and no other ones, show their exceptions'
    or diag explain \@shown;

my @warning = grep {
    my ($code) = split /^__END__$/m, slurp($_);
    m{\Aperl/.*[.]pm\z}
        && $_    !~ $PROGRAMS
        && $_    !~ m{/(?:ErrorLog|Settings)[.]pm\z}
        && $code =~ /^[^#\n]*(?<![\w>{:'"-])warn\b(?!ing| *=>)/m;
} distribution_files();
is_deeply \@warning, [], 'no other module warns by itself' or diag explain \@warning;

done_testing;
