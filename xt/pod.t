# Each module that applications load has a manual: its POD is right, and every public sub stands in it. Internal modules, in
# EventSource/XS/, have a comment, and no POD. No manual and no example sends its readers to them. No sentence of a manual is
# longer than two lines.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs_module);
use Testing::SourceTree qw(distribution_files slurp);

needs_module($_) for qw(Test::Pod Test::Pod::Coverage Dancer2 Mojolicious);

# What Dancer2::Plugin defines in the package of every plugin.
sub subs_of_plugins {
    eval 'package EmptyPlugin; use Dancer2::Plugin; 1' or die $@;    ## no critic (ProhibitStringyEval)
    return grep { EmptyPlugin->can($_) } keys %EmptyPlugin::;
}

# Besides, what only the other modules of the distribution call.
my %ALSO_PRIVATE = (
    'EventSource::Error'              => [qw(attempt at here new outside own)],
    'EventSource::Framework::Dancer2' => [subs_of_plugins()],
    'EventSource::Hub'                => [
        qw(absence check_topics clock groups has_process is_unshared relays seal_ticket shown shows_keys subscribe_by_ticket subscribe_groups type_of)
    ],
    'EventSource::Hub::Lease'      => [qw(is_held_now)],
    'EventSource::Outbox'          => [qw(look)],
    'EventSource::Server'          => [qw(add_tap remove_tap)],
    'EventSource::Server::Emitter' => [qw(close keep new take)],
    'EventSource::Server::Event'   => [qw(fields_of)],
    'EventSource::Server::Supply'  => [qw(new tap_fields)],
    'EventSource::XS'              =>
        [qw(counts_of has_later_here is_below is_first_time keep_errors later_here see_request tell_losses)],
    'Plack::App::EventSource' => [
        qw(after_handler check_at_request check_attributes end_with_error keepalive_line preamble_line random_retry run_handler
            stream_beginning)
    ],
    'Plack::App::EventSource::Connection' =>
        [qw(closed enter_child of_stream remember_member shared_attributes stream through_new)],
    'Test::EventSource::Stream' => [qw(attach cut fill is_answered new)],
);

# Perl's own hooks, and those of Plack::Component, which documents them.
my %HOOKS = (
    coverage_class => 'Pod::Coverage::CountParents',
    also_private   => [qr/\A(?:CLONE|CLONE_SKIP|call|prepare_app)\z/]
);

sub has_section {
    my ($file, $section) = @_;
    open my $from, '<', $file or die "$file: $!\n";
    return scalar grep { /^=head1 \Q$section\E$/ } <$from>;
}

for my $file (grep { m{^perl/.*\.pod$} } distribution_files()) {
    subtest $file => sub {
        Test::Pod::pod_file_ok($file);
        ok has_section($file, $_), "has the section $_" for qw(NAME DESCRIPTION);
    };
}

# Programs have their manuals in them.
Test::Pod::pod_file_ok($_) for grep { m{^bin/} } distribution_files();

my @modules  = grep { m{^perl/.*\.pm$} } distribution_files();
my $INTERNAL = qr{^perl/EventSource/XS/};

for my $file (grep { $_ !~ $INTERNAL } @modules) {
    my $module = $file =~ s{^perl/|\.pm$}{}gr =~ s{/}{::}gr;
    subtest $module => sub {
        Test::Pod::pod_file_ok($file);
        ok has_section($file, 'NAME'),                                          'has a name';
        ok has_section($file, 'SYNOPSIS') || has_section($file, 'DESCRIPTION'), 'and a synopsis, or a description';
        my @private = (@{$HOOKS{also_private}}, map { qr/\A\Q$_\E\z/ } @{$ALSO_PRIVATE{$module} || []});
        Test::Pod::Coverage::pod_coverage_ok($module, {%HOOKS, also_private => \@private});
    };
}

for my $file (grep { $_ =~ $INTERNAL } @modules) {
    my $source = slurp($file);
    like $source,   qr/\Apackage [\w:]+;\nuse strict;\nuse warnings;\n\n# /, "$file says in a comment what it is";
    unlike $source, qr/^=[a-z]/m,                                            "$file has no POD";
}

# The manual in a file of code; a whole other file.
sub manual_of {
    my $file = shift;
    my $text = slurp($file);
    return $text if $file !~ m{[.]pm$|^bin/};
    return $text =~ /^__END__$(.*)/ms ? $1 : '';
}

for my $file (grep { m{^(?:bin|examples|perl)/|^README} && $_ !~ $INTERNAL } distribution_files()) {
    my ($named) = manual_of($file) =~ /\b(EventSource::XS::[A-Z]\w*)/;
    is $named, undef, "$file names no internal module";
}

# Two lines of a filled paragraph.
my $LONGEST_SENTENCE = 256;

# A text as a reader sees it, without formatting codes.
sub plain {
    my $text = shift;
    $text =~ s/[A-Z]<< (.*?) >>/$1/g;
    1 while $text =~ s/[A-Z]<(?:[^<>|]*[|])?([^<>]*)>/$1/;
    return $text;
}

# The sentences of a manual's paragraphs. One begins with a capital or a formatting code, also behind a colon or a semicolon.
sub sentences {
    my $file       = shift;
    my @paragraphs = grep { !/\A[\s=]/ } split /\n{2,}/, manual_of($file);
    return map { plain(s/\s+/ /gr) } map { split /(?<=[.!?:;])\s+(?=[A-Z])/ } @paragraphs;
}

for my $file (grep { m{^(?:bin|perl)/} && $_ !~ $INTERNAL } distribution_files()) {
    my @long = map { length() . ": $_" } grep { length > $LONGEST_SENTENCE } sentences($file);
    is join("\n", @long), '', "no sentence of $file is longer than $LONGEST_SENTENCE characters";
}

done_testing;
